import { setImmediate as turn } from 'node:timers/promises'
import { beforeEach, describe, expect, it } from 'vitest'
import type { CharSource } from '../../../lib/backends/char/char-backend.js'
import * as reg from '../../../lib/devices/serial/registers.js'
import { Uart16550A } from '../../../lib/devices/serial/uart-16550a.js'
import { FakeBus } from '../../helpers/fake-bus.js'
import { FakeIrqLine } from '../../helpers/fake-irq-line.js'

class Keyboard implements CharSource {
  readonly queue: number[] = []
  #notify = () => {}
  take(): number {
    return this.queue.shift() ?? -1
  }
  onReadable(callback: () => void): void {
    this.#notify = callback
  }
  type(text: string): void {
    this.queue.push(...Buffer.from(text))
    this.#notify()
  }
}

let irq: FakeIrqLine
let sent: number[]
let keyboard: Keyboard
let uart: Uart16550A
let bus: FakeBus

beforeEach(() => {
  irq = new FakeIrqLine()
  sent = []
  keyboard = new Keyboard()
  uart = new Uart16550A({ irq, output: { put: (byte) => sent.push(byte) }, input: keyboard })
  bus = new FakeBus(uart)
})

const enableFifo = (trigger = 0) => bus.out(reg.UART_FCR, reg.UART_FCR_ENABLE_FIFO | (trigger << 6))
const interrupt = () => bus.in(reg.UART_IIR) & 0x0f

describe('after reset', () => {
  it('has the reset values of the datasheet, table II', () => {
    expect(bus.in(reg.UART_IER)).toBe(0)
    expect(bus.in(reg.UART_IIR)).toBe(0x01)
    expect(bus.in(reg.UART_LCR)).toBe(0)
    expect(bus.in(reg.UART_MCR)).toBe(0)
    expect(bus.in(reg.UART_LSR)).toBe(0x60)
    expect(bus.in(reg.UART_MSR)).toBe(0xb0)
  })

  it('comes back to them', () => {
    keyboard.type('a')
    for (let offset = 1; offset < 8; offset++) bus.out(offset, 0xff)
    uart.reset()
    expect([1, 2, 3, 4, 5, 6, 7].map((offset) => bus.in(offset))).toEqual([
      0, 1, 0, 0, 0x60, 0xb0, 0,
    ])
    expect(irq.level).toBe(false)
    expect(uart.baudRate).toBe(9600)
  })
})

describe('registers', () => {
  it('keeps every value of SCR and LCR, the low four bits of IER, the low five of MCR', () => {
    for (let value = 0; value < 256; value++) {
      bus.out(reg.UART_SCR, value)
      expect(bus.in(reg.UART_SCR)).toBe(value)
      bus.out(reg.UART_IER, value)
      expect(bus.in(reg.UART_IER)).toBe(value & 0x0f)
      bus.out(reg.UART_MCR, value)
      expect(bus.in(reg.UART_MCR)).toBe(value & 0x1f)
      bus.out(reg.UART_LCR, value)
      expect(bus.in(reg.UART_LCR)).toBe(value)
      bus.out(reg.UART_LCR, 0)
    }
  })

  it('puts the divisor latch behind DLAB, and posted writes to it in order', () => {
    bus.out(reg.UART_THR, 0x41)
    bus.out(reg.UART_LCR, reg.UART_LCR_DLAB | 3)
    bus.out(reg.UART_DLL, 0x34)
    bus.out(reg.UART_DLM, 0x12)
    expect(bus.in(reg.UART_DLL)).toBe(0x34)
    expect(bus.in(reg.UART_DLM)).toBe(0x12)
    bus.out(reg.UART_LCR, 3)
    bus.out(reg.UART_THR, 0x42)
    bus.drain()
    expect(sent).toEqual([0x41, 0x42])
    expect(bus.in(reg.UART_IER)).toBe(0)
  })

  it.each([
    [1, 0, 115200],
    [12, 0, 9600],
    [0, 0, 9600],
    [0, 1, 450],
  ])('reports the rate for DLL %i, DLM %i as %i', (dll, dlm, rate) => {
    bus.out(reg.UART_LCR, reg.UART_LCR_DLAB)
    bus.out(reg.UART_DLL, dll)
    bus.out(reg.UART_DLM, dlm)
    bus.drain()
    expect(uart.baudRate).toBe(rate)
  })

  it('ignores writes to LSR and MSR', () => {
    bus.out(reg.UART_LSR, 0xff)
    bus.out(reg.UART_MSR, 0xff)
    expect(bus.in(reg.UART_LSR)).toBe(0x60)
    expect(bus.in(reg.UART_MSR)).toBe(0xb0)
  })

  it('reads as all ones and ignores writes at widths that it does not have', () => {
    expect(uart.read(0, 2)).toBe(0xffff)
    expect(uart.read(4, 4)).toBe(0xffff_ffff)
    uart.write(0, 2, 0x4141)
    uart.write(4, 4, 0x1f1f1f1f)
    expect(sent).toEqual([])
    expect(bus.in(reg.UART_MCR)).toBe(0)
  })
})

describe('transmitter', () => {
  it('raises the interrupt when it is enabled, drops it when IIR is read, each time', () => {
    for (let round = 0; round < 2; round++) {
      bus.out(reg.UART_IER, reg.UART_IER_THRI)
      bus.drain()
      expect(irq.level).toBe(true)
      expect(interrupt()).toBe(reg.UART_IIR_THRI)
      expect(irq.level).toBe(false)
      expect(interrupt()).toBe(reg.UART_IIR_NO_INT)
      bus.out(reg.UART_IER, 0)
    }
  })

  it('does not raise it again by a write that leaves it enabled', () => {
    bus.out(reg.UART_IER, reg.UART_IER_THRI)
    interrupt()
    bus.out(reg.UART_IER, reg.UART_IER_THRI | reg.UART_IER_RDI)
    expect(irq.level).toBe(false)
  })

  it('raises it once for a posted burst', () => {
    bus.out(reg.UART_IER, reg.UART_IER_THRI)
    interrupt()
    const before = irq.edges
    for (let i = 0; i < 1000; i++) bus.out(reg.UART_THR, i & 0xff)
    bus.drain()
    expect(irq.edges).toBe(before + 1)
    expect(sent).toHaveLength(1000)
  })

  it('shows the interrupt of a posted byte in the next IIR read', () => {
    bus.out(reg.UART_IER, reg.UART_IER_THRI)
    interrupt()
    bus.out(reg.UART_THR, 0x41)
    expect(interrupt()).toBe(reg.UART_IIR_THRI)
  })

  it('keeps the interrupt when a source of higher priority was what IIR showed', () => {
    bus.out(reg.UART_IER, reg.UART_IER_THRI | reg.UART_IER_RDI)
    keyboard.type('x')
    expect(interrupt()).toBe(reg.UART_IIR_RDI)
    bus.in(reg.UART_RBR)
    expect(interrupt()).toBe(reg.UART_IIR_THRI)
  })

  it('needs no synchronous exit for a polled console', () => {
    for (let i = 0; i < 100; i++) {
      expect(bus.in(reg.UART_LSR) & reg.UART_LSR_THRE).not.toBe(0)
      bus.out(reg.UART_THR, 0x2e)
    }
    expect(bus.synchronous).toBe(0)
  })
})

describe('receiver', () => {
  it('without the FIFO holds one byte and takes the next when that is read', async () => {
    keyboard.type('ab')
    expect(bus.in(reg.UART_LSR)).toBe(0x61)
    expect(bus.in(reg.UART_RBR)).toBe(0x61)
    expect(bus.in(reg.UART_LSR)).toBe(0x60)
    await turn()
    expect(bus.in(reg.UART_RBR)).toBe(0x62)
  })

  it('with the FIFO takes sixteen and leaves the rest with the sender', async () => {
    enableFifo()
    const text = 'The quick brown fox jumps'
    keyboard.type(text)
    expect(keyboard.queue).toHaveLength(text.length - 16)
    let read = ''
    while (read.length < text.length) {
      while (bus.in(reg.UART_LSR) & reg.UART_LSR_DR)
        read += String.fromCharCode(bus.in(reg.UART_RBR))
      await turn()
    }
    expect(read).toBe(text)
  })

  it('reads as 0 when empty', () => {
    expect(bus.in(reg.UART_RBR)).toBe(0)
  })

  it.each([
    [0, 1],
    [1, 4],
    [2, 8],
    [3, 14],
  ])('trigger bits %i: below %i bytes a timeout, from there on received data', (bits, level) => {
    enableFifo(bits)
    bus.out(reg.UART_IER, reg.UART_IER_RDI)
    for (let count = 1; count <= 16; count++) {
      keyboard.type('x')
      expect(interrupt()).toBe(count < level ? reg.UART_IIR_RX_TIMEOUT : reg.UART_IIR_RDI)
    }
    for (let count = 15; count >= 0; count--) {
      expect(irq.level).toBe(true)
      bus.in(reg.UART_RBR)
      expect(interrupt()).toBe(
        count === 0 ? 1 : count < level ? reg.UART_IIR_RX_TIMEOUT : reg.UART_IIR_RDI,
      )
    }
    expect(irq.level).toBe(false)
  })

  it('shows FIFO mode in IIR, never the 16750 bit', () => {
    bus.out(reg.UART_FCR, 0xff)
    expect(bus.in(reg.UART_IIR) & 0xf0).toBe(0xc0)
    bus.out(reg.UART_FCR, 0xfe)
    expect(bus.in(reg.UART_IIR) & 0xf0).toBe(0)
  })

  it('reports a break as a zero with BI, in LSR until that is read', () => {
    enableFifo()
    bus.out(reg.UART_IER, reg.UART_IER_RLSI)
    uart.receiveBreak()
    expect(interrupt()).toBe(reg.UART_IIR_RLSI)
    expect(irq.level).toBe(true)
    expect(bus.in(reg.UART_LSR)).toBe(0x60 | reg.UART_LSR_FIFOE | reg.UART_LSR_BI | reg.UART_LSR_DR)
    expect(irq.level).toBe(false)
    expect(bus.in(reg.UART_LSR)).toBe(0x61)
    expect(bus.in(reg.UART_RBR)).toBe(0)
  })

  it('shows the error of a character when that is the oldest, and in bit 7 before', () => {
    enableFifo()
    keyboard.type('a')
    uart.receiveBreak()
    keyboard.type('h')
    expect(bus.in(reg.UART_LSR)).toBe(0x60 | reg.UART_LSR_FIFOE | reg.UART_LSR_DR)
    expect(bus.in(reg.UART_RBR)).toBe(0x61)
    expect(bus.in(reg.UART_LSR) & reg.UART_LSR_BI).toBe(reg.UART_LSR_BI)
    expect(bus.in(reg.UART_RBR)).toBe(0)
    expect(bus.in(reg.UART_LSR)).toBe(0x61)
    expect(bus.in(reg.UART_RBR)).toBe(0x68)
  })

  it('takes no more than one break of a storm, and says that it overran', () => {
    enableFifo()
    for (let i = 0; i < 1000; i++) uart.receiveBreak()
    expect(bus.in(reg.UART_LSR) & reg.UART_LSR_OE).toBe(reg.UART_LSR_OE)
    let count = 0
    while (bus.in(reg.UART_LSR) & reg.UART_LSR_DR) {
      bus.in(reg.UART_RBR)
      count++
    }
    expect(count).toBe(16)
  })
})

describe('flow control', () => {
  it('feeds a guest that never touches MCR, and one that enables the interrupt with RTS low', async () => {
    keyboard.type('a')
    expect(bus.in(reg.UART_RBR)).toBe(0x61)
    bus.out(reg.UART_MCR, 0)
    await turn()
    keyboard.type('b')
    expect(bus.in(reg.UART_LSR) & reg.UART_LSR_DR).toBe(0)
    bus.out(reg.UART_IER, reg.UART_IER_RDI)
    await turn()
    expect(bus.in(reg.UART_RBR)).toBe(0x62)
  })

  it('holds input back while RTS is down, and lets it come when RTS goes up', async () => {
    bus.out(reg.UART_IER, reg.UART_IER_RDI)
    bus.out(reg.UART_MCR, reg.UART_MCR_RTS)
    await turn()
    bus.out(reg.UART_MCR, 0)
    keyboard.type('held')
    await turn()
    expect(keyboard.queue).toHaveLength(4)
    expect(irq.level).toBe(false)
    bus.out(reg.UART_MCR, reg.UART_MCR_RTS)
    await turn()
    expect(bus.in(reg.UART_RBR)).toBe(0x68)
  })

  it('sends again what a FIFO reset found while RTS was down', async () => {
    enableFifo()
    keyboard.type('early input, longer than a FIFO')
    bus.out(reg.UART_FCR, 0)
    bus.out(reg.UART_MCR, 0)
    bus.out(reg.UART_FCR, 1)
    bus.out(reg.UART_FCR, 7)
    await turn()
    expect(bus.in(reg.UART_RBR)).toBe(0)
    bus.out(reg.UART_MCR, reg.UART_MCR_RTS)
    let read = ''
    for (let i = 0; i < 5; i++) {
      await turn()
      while (bus.in(reg.UART_LSR) & reg.UART_LSR_DR)
        read += String.fromCharCode(bus.in(reg.UART_RBR))
    }
    expect(read).toBe('early input, longer than a FIFO')
  })

  it('drops what a FIFO reset finds while RTS is up', async () => {
    enableFifo()
    bus.out(reg.UART_MCR, reg.UART_MCR_RTS)
    keyboard.type('gone')
    bus.out(reg.UART_FCR, reg.UART_FCR_ENABLE_FIFO | reg.UART_FCR_CLEAR_RCVR)
    await turn()
    expect(bus.in(reg.UART_LSR)).toBe(0x60)
  })
})

describe('loopback', () => {
  it('brings back what is written, sends nothing, and overruns after sixteen', () => {
    enableFifo()
    bus.out(reg.UART_MCR, reg.UART_MCR_LOOP)
    for (let i = 0; i < 20; i++) bus.out(reg.UART_THR, i)
    expect(bus.in(reg.UART_LSR)).toBe(0x60 | reg.UART_LSR_DR | reg.UART_LSR_OE)
    const read: number[] = []
    while (bus.in(reg.UART_LSR) & reg.UART_LSR_DR) read.push(bus.in(reg.UART_RBR))
    expect(read).toEqual(Array.from({ length: 16 }, (_, i) => i))
    expect(sent).toEqual([])
  })

  it('without the FIFO keeps the newest byte', () => {
    bus.out(reg.UART_MCR, reg.UART_MCR_LOOP)
    bus.out(reg.UART_THR, 1)
    bus.out(reg.UART_THR, 2)
    expect(bus.in(reg.UART_LSR) & reg.UART_LSR_OE).toBe(reg.UART_LSR_OE)
    expect(bus.in(reg.UART_RBR)).toBe(2)
  })

  it('raises the received data interrupt as on the line', () => {
    bus.out(reg.UART_IER, reg.UART_IER_RDI)
    bus.out(reg.UART_MCR, reg.UART_MCR_LOOP)
    bus.out(reg.UART_THR, 0x55)
    bus.drain()
    expect(irq.level).toBe(true)
    expect(interrupt()).toBe(reg.UART_IIR_RDI)
  })

  it.each(Array.from({ length: 16 }, (_, outputs) => outputs))(
    'wires the modem lines for outputs %i',
    (outputs) => {
      bus.out(reg.UART_MCR, reg.UART_MCR_LOOP | outputs)
      const expected =
        (outputs & 1 ? reg.UART_MSR_DSR : 0) |
        (outputs & 2 ? reg.UART_MSR_CTS : 0) |
        (outputs & 4 ? reg.UART_MSR_RI : 0) |
        (outputs & 8 ? reg.UART_MSR_DCD : 0)
      expect(bus.in(reg.UART_MSR) & 0xf0).toBe(expected)
    },
  )

  it('reports changes in the delta bits, the ring by its trailing edge, and clears them when read', () => {
    bus.out(reg.UART_MCR, reg.UART_MCR_LOOP | 0x0f)
    bus.in(reg.UART_MSR)
    bus.out(reg.UART_IER, reg.UART_IER_MSI)
    expect(irq.level).toBe(false)
    bus.out(reg.UART_MCR, reg.UART_MCR_LOOP)
    expect(interrupt()).toBe(reg.UART_IIR_MSI)
    expect(bus.in(reg.UART_MSR)).toBe(0x0f)
    expect(bus.in(reg.UART_MSR)).toBe(0)
    expect(irq.level).toBe(false)
    bus.out(reg.UART_MCR, reg.UART_MCR_LOOP | reg.UART_MCR_OUT1)
    expect(bus.in(reg.UART_MSR)).toBe(reg.UART_MSR_RI)
  })

  it('loops a break back once', () => {
    bus.out(reg.UART_MCR, reg.UART_MCR_LOOP)
    bus.out(reg.UART_LCR, reg.UART_LCR_SBC)
    expect(bus.in(reg.UART_LSR) & reg.UART_LSR_BI).toBe(reg.UART_LSR_BI)
    bus.out(reg.UART_LCR, reg.UART_LCR_SBC)
    expect(bus.in(reg.UART_LSR) & reg.UART_LSR_BI).toBe(0)
  })

  it('cuts the line off', async () => {
    bus.out(reg.UART_MCR, reg.UART_MCR_LOOP | reg.UART_MCR_RTS)
    keyboard.type('x')
    uart.receiveBreak()
    expect(bus.in(reg.UART_LSR)).toBe(0x60)
    bus.out(reg.UART_MCR, reg.UART_MCR_RTS)
    await turn()
    expect(bus.in(reg.UART_RBR)).toBe(0x78)
  })
})
