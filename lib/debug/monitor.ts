import type { VcpuFd } from '../kvm/vcpu-fd.js'
import type { DebugTarget } from './debug-target.js'
import { FEATURES, type Register, RegisterFile } from './registers.js'

const HELP = `info registers    the registers of the current vCPU
reset             back to the first instruction
help              this text
`

/** What GDB's `monitor` takes. Resolves with the text to show. */
export async function monitor(command: string, target: DebugTarget, vcpu: number): Promise<string> {
  switch (command.trim().replace(/\s+/g, ' ')) {
    case 'info registers':
      return infoRegisters(target.vcpus[vcpu]!)
    case 'reset':
      await target.reset()
      return 'The machine is at its first instruction.\n'
    case 'help':
    case '':
      return HELP
    default:
      return `'${command}' is not known; try 'monitor help'\n`
  }
}

/** The general, segment and system registers. */
function infoRegisters(vcpu: VcpuFd): string {
  const file = new RegisterFile(vcpu)
  const shown = FEATURES.flatMap(({ registers }) => registers).filter(
    ({ bits, group, name }) =>
      bits <= 64 && name !== 'orig_rax' && !['float', 'vector'].includes(group ?? ''),
  )
  const line = (register: Register) => {
    const value = register
      .get(file)
      .toString(16)
      .padStart(register.bits / 4, '0')
    return `${register.name.padEnd(8)}${value}\n`
  }
  const { gdt, idt } = file.sregs
  const table = (name: string, { base, limit }: { base: bigint; limit: number }) =>
    `${name.padEnd(8)}${base.toString(16).padStart(16, '0')} ${limit.toString(16).padStart(4, '0')}\n`
  return shown.map(line).join('') + table('gdt', gdt) + table('idt', idt)
}
