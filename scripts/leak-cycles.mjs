// What `npm run test:leaks` runs: opens and closes everything of the raw API a few times, in the main thread and in
// Workers, and ends as a program should, which test runners' workers do not, so that LeakSanitizer gets its turn. Needs
// `npm run build:ts`.
import { once } from 'node:events'
import { isMainThread, Worker } from 'node:worker_threads'
import { binding } from '../dist/lib/binding.js'
import { createGuestMemory, EventFd, KVM_EXIT_HLT, Kvm, KvmError } from '../dist/lib/kvm.js'

const CYCLES = 20
const WORKERS = 4
const HLT = 0xf4

function cycle() {
  const kvm = Kvm.open()
  const vm = kvm.createVm()
  const memory = createGuestMemory([{ guestAddress: 0, size: 0x10000 }])
  memory.register(vm)
  memory.write(0, Uint8Array.of(HLT))
  const vcpu = vm.createVcpu(0)
  const sregs = vcpu.getSregs()
  sregs.cs.base = 0n
  sregs.cs.selector = 0
  vcpu.setSregs(sregs)
  vcpu.setRegs({ rip: 0n, rflags: 2n })
  for (let tries = 0; vcpu.run() !== KVM_EXIT_HLT; tries++) {
    if (tries > 50) throw new Error('the guest did not halt')
  }
  const channel = new (binding().ExitChannel)()
  const [posted, latched] = [Uint32Array.of(0), Uint32Array.of(1, 1)]
  channel.addRoute({ space: 'pio', base: 0x10, size: 4, posted, latched })
  channel.addVcpu(vcpu.native)
  channel.run(() => {})
  channel.close()
  for (const stats of [vm.stats(), vcpu.stats()]) {
    stats.read()
    stats.close()
  }
  const event = new EventFd()
  event.watch(() => {})
  event.signal()
  vm.ioeventfd(event, { space: 'pio', address: 0x100, length: 1 })
  try {
    vm.createVcpu(0)
    throw new Error('a second vCPU 0 was made')
  } catch (error) {
    if (!(error instanceof KvmError)) throw error
  }
  for (const part of [event, vcpu, memory, vm, kvm]) part.close()
}

for (let i = 0; i < CYCLES; i++) cycle()

if (isMainThread) {
  for (let i = 0; i < WORKERS; i++) await once(new Worker(new URL(import.meta.url)), 'exit')
}
