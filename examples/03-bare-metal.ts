// Boots 26 bytes of machine code, on any /dev/kvm: they print a line by the serial port, and end the machine.
import { describeStopReason, VirtualMachine } from 'node-kvm'

// biome-ignore format: one instruction a line
const program = Uint8Array.from([
  0xbe, 0x14, 0x7c, //    mov $text, %si
  0xba, 0xf8, 0x03, //    mov $0x3f8, %dx
  0xac, //             1: lodsb
  0x3c, 0x00, //          cmp $0, %al
  0x74, 0x03, //          je 2f
  0xee, //                out %al, %dx
  0xeb, 0xf8, //          jmp 1b
  0xb0, 0xfe, //       2: mov $0xfe, %al
  0xe6, 0x64, //          out %al, $0x64      the keyboard controller's reset
  0xeb, 0xfe, //          jmp .
  ...Buffer.from('hello\0'),
])

await using vm = await VirtualMachine.create({
  kernel: program,
  flatBinary: { mode: 'real' }, // at 0x7c00, as a boot sector
  memory: '16M',
})
await vm.start()
for await (const text of vm.console.output) console.log(`the guest says ${text}`)
console.log(describeStopReason(await vm.stopped))
