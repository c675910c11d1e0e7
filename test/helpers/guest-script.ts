import { spawn } from 'node:child_process'
import { limit, PATIENCE, workerPrelude } from './process-state.js'

/**
 * JavaScript for a Worker or a child process, on the addon alone: `guest(...programs)` makes a VM with one vCPU in
 * real mode for each program, on an exit channel.
 */
export const guestPrelude = `${workerPrelude}
  function guest(...programs) {
    const kvm = new binding.Kvm('/dev/kvm')
    const vm = kvm.createVm(0)
    const mapping = new binding.Mapping(65536)
    vm.setUserMemoryRegion(0, 0, 0, 65536, mapping, 0)
    const memory = new Uint8Array(mapping.buffer(0, 65536))
    const channel = new binding.ExitChannel()
    const vcpus = programs.map((program, id) => {
      const vcpu = vm.createVcpu(id)
      const sregs = new Uint8Array(312)
      vcpu.ioctl(ioctls.KVM_GET_SREGS, sregs)
      sregs.fill(0, 0, 8) // cs.base
      sregs.fill(0, 12, 14) // cs.selector
      vcpu.ioctl(ioctls.KVM_SET_SREGS, sregs)
      const regs = new BigUint64Array(18)
      regs[16] = BigInt(0x1000 * (id + 1)) // rip
      regs[17] = 2n // rflags
      vcpu.ioctl(ioctls.KVM_SET_REGS, new Uint8Array(regs.buffer))
      memory.set(program, 0x1000 * (id + 1))
      channel.addVcpu(vcpu)
      return vcpu
    })
    return { channel, vm, vcpus, memory }
  }
  const spin = [0xeb, 0xfe]
  const reading = [0xe4, 0x10, 0xeb, 0xfc] // in al, 0x10 for ever
  const posting = [0xe6, 0x10, 0xeb, 0xfc] // out 0x10, al for ever
  const none = new Uint32Array(0)
  /** Answers exits, by nothing, until \`each\` returns true: then the channel is closed. */
  function answer(channel, each = () => {}) {
    return function onWork() {
      for (let index = channel.next(-1); index !== -1; index = channel.next(index)) {
        if (index === -2) return void setImmediate(onWork)
        if (each(index) === true) return void channel.close()
      }
    }
  }
`

export interface ScriptResult {
  status: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

/** Runs `script` after the prelude in a Node of its own. Ended by SIGKILL, which shows as `signal`, if it takes too long (see `limit`). */
export function runScript(script: string, flags: readonly string[] = []): Promise<ScriptResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...flags, '-e', guestPrelude + script], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), limit(PATIENCE))
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.on('error', reject)
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      resolve({ status, signal, stdout, stderr })
    })
  })
}
