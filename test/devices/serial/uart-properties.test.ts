import fc from 'fast-check'
import { expect, it } from 'vitest'
import * as reg from '../../../lib/devices/serial/registers.js'
import { Uart16550A } from '../../../lib/devices/serial/uart-16550a.js'
import { FakeBus } from '../../helpers/fake-bus.js'
import { FakeIrqLine } from '../../helpers/fake-irq-line.js'

const width = fc.constantFrom<1 | 2 | 4>(1, 1, 1, 1, 2, 4)
const access = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('in' as const),
      offset: fc.nat(7),
      width,
      value: fc.constant(0),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('out' as const),
      offset: fc.nat(7),
      width,
      value: fc.nat(0xffff_ffff),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('break' as const),
      offset: fc.constant(0),
      width,
      value: fc.constant(0),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('input' as const),
      offset: fc.constant(0),
      width,
      value: fc.nat(255),
    }),
  },
)

it.each([
  ['latches', false],
  ['latches and a cause that the bus keeps', true],
])(
  'answers any sequence of accesses with bytes, agrees with its interrupt line, and sees no difference through %s',
  (_, keepsCause) => {
    fc.assert(
      fc.property(fc.array(access, { maxLength: 300, size: 'max' }), (accesses) => {
        const make = () => {
          const irq = new FakeIrqLine()
          const sent: number[] = []
          const queue: number[] = []
          let notify = () => {}
          const uart = new Uart16550A({
            irq,
            output: { put: (byte) => sent.push(byte) },
            input: {
              take: () => queue.shift() ?? -1,
              onReadable: (callback) => (notify = callback),
            },
          })
          return {
            irq,
            sent,
            uart,
            type: (byte: number) => {
              queue.push(byte)
              notify()
            },
          }
        }
        // The same script with shortcuts and without: a guest must not be able to tell.
        const direct = make()
        const shortcut = make()
        const bus = new FakeBus(shortcut.uart, { keepsCause })
        // A second vCPU may be in its interrupt handler before the device has returned.
        shortcut.irq.onRise = () => {
          const iir = bus.peek(reg.UART_IIR)
          if (iir !== undefined) expect(iir & reg.UART_IIR_NO_INT).toBe(0)
        }
        for (const { kind, offset, width, value } of accesses) {
          if (kind === 'in') {
            const read = direct.uart.read(offset, width)
            expect(read).toBeGreaterThanOrEqual(0)
            expect(read).toBeLessThan(2 ** (8 * width))
            expect(bus.in(offset, width)).toBe(read)
          } else if (kind === 'out') {
            direct.uart.write(offset, width, value)
            bus.out(offset, value, width)
          } else if (kind === 'break') {
            bus.drain()
            direct.uart.receiveBreak()
            shortcut.uart.receiveBreak()
          } else {
            bus.drain()
            direct.type(value)
            shortcut.type(value)
          }
        }
        bus.drain()
        expect(shortcut.irq.level).toBe(direct.irq.level)
        expect(shortcut.sent).toEqual(direct.sent)
        expect((direct.uart.read(reg.UART_IIR, 1) & 1) === 0).toBe(shortcut.irq.level)
        let depth = 0
        direct.uart.write(reg.UART_LCR, 1, 0)
        while (direct.uart.read(reg.UART_LSR, 1) & reg.UART_LSR_DR) {
          direct.uart.read(reg.UART_RBR, 1)
          depth++
        }
        expect(depth).toBeLessThanOrEqual(16)
      }),
      { numRuns: 300 },
    )
  },
)

it('survives every value in every register, with and without DLAB, under every loopback mask', () => {
  const uart = new Uart16550A({ irq: new FakeIrqLine(), output: { put() {} } })
  for (let mcr = 0; mcr < 32; mcr++) {
    for (const dlab of [0, reg.UART_LCR_DLAB]) {
      for (let offset = 0; offset < 8; offset++) {
        for (let value = 0; value < 256; value++) {
          uart.write(reg.UART_MCR, 1, mcr)
          uart.write(reg.UART_LCR, 1, dlab)
          uart.write(offset, 1, value)
          const read = uart.read(offset, 1)
          if (!(read >= 0 && read <= 255)) expect.fail(`register ${offset} reads ${read}`)
          if (!(uart.baudRate > 0 && uart.baudRate <= 115200)) expect.fail(`rate ${uart.baudRate}`)
        }
      }
    }
  }
})
