import { expect, it } from 'vitest'
import { Bus } from '../../../lib/bus/bus.js'
import { UART_PORTS } from '../../../lib/devices/serial/registers.js'
import { Uart16550A } from '../../../lib/devices/serial/uart-16550a.js'
import { IoctlIrqLine } from '../../../lib/interrupt/ioctl-irq.js'
import { createGuestMemory, KVM_EXIT_INTR, KVM_EXIT_IO, Kvm } from '../../../lib/kvm.js'
import { le16 } from '../../../lib/util/bits.js'
import * as asm from '../../helpers/real-mode.js'

const COM1 = 0x3f8
const COM1_GSI = 4
const DONE_PORT = 0xf4
const CODE = 0x1000
const HANDLER = 0x1100

// Real mode. The interrupt handler echoes every byte that waits; a 'q' ends the guest.
const main = [
  ...asm.takeIrq4(HANDLER),
  ...asm.outb(COM1 + 2, 0x01), //                               UART: FIFO, DTR RTS OUT2, received data interrupt
  ...asm.outb(COM1 + 4, 0x0b),
  ...asm.outb(COM1 + 1, 0x01),
  ...asm.awaitInterrupts,
]
const handler = [
  ...[0xba, ...le16(COM1 + 5), 0xec], //  next: mov dx, LSR; in al, dx
  ...[0xa8, 0x01, 0x74, 0x0b], //               test al, 1; jz end
  ...[0xba, ...le16(COM1), 0xec, 0xee], //      mov dx, RBR; in al, dx; out dx, al
  ...[0x3c, 0x71, 0x74, 0x07, 0xeb, 0xed], //   cmp al, 'q'; je done; jmp next
  ...[0xb0, 0x20, 0xe6, 0x20, 0xcf], //    end: mov al, 0x20; out 0x20, al; iret
  ...[0xe6, DONE_PORT], //                done: out DONE_PORT, al
]

it('echoes through a real guest, woken by a real interrupt', () => {
  using kvm = Kvm.open()
  using vm = kvm.createVm()
  vm.createIrqchip()
  const memory = createGuestMemory([{ guestAddress: 0, size: 0x10000 }])
  try {
    memory.register(vm)
    memory.write(CODE, Uint8Array.from(main))
    memory.write(HANDLER, Uint8Array.from(handler))

    const typed = [...Buffer.from('ping, pong q')]
    let echoed = ''
    const bus = new Bus('pio')
    const uart = new Uart16550A({
      irq: new IoctlIrqLine(vm, COM1_GSI),
      output: {
        put(byte) {
          echoed += String.fromCharCode(byte)
        },
      },
      input: { take: () => typed.shift() ?? -1, onReadable: (callback) => callback() },
    })
    bus.attach(COM1, UART_PORTS, uart)

    using vcpu = vm.createVcpu(0)
    const sregs = vcpu.getSregs()
    sregs.cs.base = 0n
    sregs.cs.selector = 0
    vcpu.setSregs(sregs)
    vcpu.setRegs({ rip: BigInt(CODE), rflags: 2n })

    const { runPage } = vcpu
    for (let exits = 0; exits < 1000; exits++) {
      const reason = vcpu.run()
      if (reason === KVM_EXIT_INTR) continue
      expect(reason).toBe(KVM_EXIT_IO)
      if (runPage.ioPort === DONE_PORT) break
      if (runPage.ioIsIn) runPage.setIoData(bus.read(runPage.ioPort, runPage.ioSize))
      else bus.write(runPage.ioPort, runPage.ioSize, runPage.ioData())
    }
    expect(echoed).toBe('ping, pong q')
  } finally {
    memory.close()
  }
})
