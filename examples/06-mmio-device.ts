// A device of one's own, and a guest that drives it, on any /dev/kvm. The device squares what is written to its register;
// the guest, 64-bit code, writes 12, reads the register, and ends the machine with what it has read.
import { type StopReason, VirtualMachine } from 'node-kvm'
import type { BusDevice } from 'node-kvm/devices'

class Squarer implements BusDevice {
  readonly name = 'squarer'
  #value = 0

  read(offset: number): number {
    return offset === 0 ? this.#value : 0xffff_ffff
  }

  write(offset: number, _width: number, value: number): void {
    if (offset === 0) this.#value = Math.imul(value, value) >>> 0
  }
}

// biome-ignore format: one instruction a line
const program = Uint8Array.from([
  0xbb, 0x00, 0x00, 0x00, 0xd8, //          mov $0xd8000000, %ebx
  0xc7, 0x03, 12, 0x00, 0x00, 0x00, //      movl $12, (%rbx)
  0x8b, 0x03, //                            mov (%rbx), %eax
  0xe7, 0xf4, //                            out %eax, $0xf4       the debug exit device
])

await using vm = await VirtualMachine.create({
  kernel: program,
  flatBinary: { mode: 'long' },
  attach: [{ device: new Squarer(), mmio: 0xd800_0000, size: 4 }],
  devices: { debugExit: true },
  memory: '16M',
})
await vm.start()
const reason: StopReason = await vm.stopped
console.log(reason.kind === 'exit' ? `the guest has read ${reason.code}` : reason)
