import { beforeEach, expect, it } from 'vitest'
import * as reg from '../../../lib/devices/serial/registers.js'
import { Uart16550A } from '../../../lib/devices/serial/uart-16550a.js'
import { FakeBus } from '../../helpers/fake-bus.js'
import { FakeIrqLine } from '../../helpers/fake-irq-line.js'

// The questions that Linux's 8250 driver asks, in its order, and the answers of a healthy 16550A.

const EFR = 2
const LCR_CONF_MODE_A = 0x80
const LCR_CONF_MODE_B = 0xbf
const FCR7_64BYTE = 0x20

let bus: FakeBus

beforeEach(() => {
  bus = new FakeBus(new Uart16550A({ irq: new FakeIrqLine(), output: { put() {} } }))
})

it('has an IER of four bits', () => {
  bus.out(reg.UART_IER, 0)
  expect(bus.in(reg.UART_IER) & 0x0f).toBe(0)
  bus.out(reg.UART_IER, 0x0f)
  expect(bus.in(reg.UART_IER) & 0x0f).toBe(0x0f)
  bus.out(reg.UART_IER, 0x40)
  expect(bus.in(reg.UART_IER) & 0x40).toBe(0)
})

it('passes the loopback test of the modem lines', () => {
  bus.out(reg.UART_MCR, reg.UART_MCR_LOOP | reg.UART_MCR_OUT2 | reg.UART_MCR_RTS)
  expect(bus.in(reg.UART_MSR) & 0xf0).toBe(0x90)
})

it('is a 16550A: FIFO bits in IIR, no EFR, no 16750 FIFO, not National, sixteen bytes deep', () => {
  bus.out(reg.UART_LCR, LCR_CONF_MODE_B)
  bus.out(EFR, 0)
  bus.out(reg.UART_LCR, 0)
  bus.out(reg.UART_FCR, reg.UART_FCR_ENABLE_FIFO)
  expect(bus.in(reg.UART_IIR) & 0xc0).toBe(0xc0)

  for (const mode of [LCR_CONF_MODE_A, LCR_CONF_MODE_B]) {
    bus.out(reg.UART_LCR, mode)
    expect(bus.in(EFR)).not.toBe(0)
  }

  bus.out(reg.UART_LCR, 0)
  const mcr = bus.in(reg.UART_MCR)
  bus.out(reg.UART_LCR, 0xe0)
  expect((bus.in(2) ^ mcr) & reg.UART_MCR_LOOP).toBe(0)
  bus.out(reg.UART_LCR, 0)
  bus.out(reg.UART_MCR, mcr ^ reg.UART_MCR_LOOP)
  bus.out(reg.UART_LCR, 0xe0)
  expect((bus.in(2) ^ mcr) & reg.UART_MCR_LOOP).toBe(0)
  bus.out(reg.UART_LCR, 0)
  bus.out(reg.UART_MCR, mcr)

  bus.out(reg.UART_FCR, reg.UART_FCR_ENABLE_FIFO | FCR7_64BYTE)
  const plain = bus.in(reg.UART_IIR) >> 5
  bus.out(reg.UART_LCR, LCR_CONF_MODE_A)
  bus.out(reg.UART_FCR, reg.UART_FCR_ENABLE_FIFO | FCR7_64BYTE)
  expect([plain, bus.in(reg.UART_IIR) >> 5]).toEqual([6, 6])
  bus.out(reg.UART_LCR, 0)

  bus.out(reg.UART_FCR, 7)
  bus.out(reg.UART_MCR, reg.UART_MCR_LOOP)
  bus.out(reg.UART_LCR, LCR_CONF_MODE_A)
  bus.out(reg.UART_DLL, 1)
  bus.out(reg.UART_DLM, 0)
  bus.out(reg.UART_LCR, 3)
  for (let i = 0; i < 256; i++) bus.out(reg.UART_THR, i)
  let depth = 0
  while (bus.in(reg.UART_LSR) & reg.UART_LSR_DR && depth < 256) {
    bus.in(reg.UART_RBR)
    depth++
  }
  expect(depth).toBe(16)
})

it('has neither the THRE bug nor the TXEN bug', () => {
  const answers: number[] = []
  for (let round = 0; round < 2; round++) {
    bus.out(reg.UART_IER, reg.UART_IER_THRI)
    answers.push(bus.in(reg.UART_IIR) & reg.UART_IIR_NO_INT)
    bus.out(reg.UART_IER, 0)
  }
  expect(answers).toEqual([0, 0])
  bus.out(reg.UART_IER, reg.UART_IER_THRI)
  expect(bus.in(reg.UART_LSR) & reg.UART_LSR_TEMT).toBe(reg.UART_LSR_TEMT)
  expect(bus.in(reg.UART_IIR) & reg.UART_IIR_NO_INT).toBe(0)
})

it('keeps an interrupt handler going through a full buffer: sixteen bytes for each read of IIR', () => {
  bus.out(reg.UART_FCR, reg.UART_FCR_ENABLE_FIFO)
  bus.out(reg.UART_IER, reg.UART_IER_THRI)
  let left = 4096
  let passes = 0
  while ((bus.in(reg.UART_IIR) & reg.UART_IIR_NO_INT) === 0 && left > 0) {
    passes++
    if (bus.in(reg.UART_LSR) & reg.UART_LSR_THRE) {
      for (let i = 0; i < 16 && left > 0; i++, left--) bus.out(reg.UART_THR, 0x2e)
    }
  }
  expect([left, passes]).toEqual([0, 256])
})
