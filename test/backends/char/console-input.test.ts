import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { ConsoleInput } from '../../../lib/backends/char/console-input.js'
import * as reg from '../../../lib/devices/serial/registers.js'
import { Uart16550A } from '../../../lib/devices/serial/uart-16550a.js'
import { FakeIrqLine } from '../../helpers/fake-irq-line.js'

function takeAll(input: ConsoleInput): string {
  let text = ''
  for (let byte = input.take(); byte >= 0; byte = input.take()) text += String.fromCharCode(byte)
  return text
}

describe('ConsoleInput', () => {
  it('gives the bytes of all writes in order, then -1', async () => {
    const input = new ConsoleInput()
    input.write('one ')
    input.write('')
    input.write(Buffer.from('two '))
    input.write('three')
    let text = ''
    while (text.length < 13) {
      text += takeAll(input)
      await turn()
    }
    expect(text).toBe('one two three')
    expect(input.take()).toBe(-1)
  })

  it('completes a write when the guest has taken its last byte, not before', async () => {
    const input = new ConsoleInput()
    let written = false
    input.write('ab', () => {
      written = true
    })
    input.take()
    await turn()
    expect(written).toBe(false)
    input.take()
    await turn()
    expect(written).toBe(true)
  })

  it('never runs the writer inside take()', async () => {
    const input = new ConsoleInput()
    let inside = false
    let nested = false
    input.write('x', () => {
      nested = inside
    })
    inside = true
    input.take()
    inside = false
    await turn()
    expect(nested).toBe(false)
  })

  it('tells its device about bytes that came before the device', () => {
    const input = new ConsoleInput()
    input.write('early')
    let told = 0
    input.onReadable(() => told++)
    expect(told).toBe(1)
    expect(takeAll(input)).toBe('early')
  })

  it('asks the writer to wait beyond the high water mark', async () => {
    const input = new ConsoleInput({ highWaterMark: 10 })
    expect(input.write('12345')).toBe(true)
    expect(input.write('12345')).toBe(false)
    let drained = false
    input.once('drain', () => {
      drained = true
    })
    await turn()
    expect(drained).toBe(false)
    while (!drained) {
      takeAll(input)
      await turn()
    }
  })

  it('finishes when the guest has taken everything', async () => {
    const input = new ConsoleInput()
    let finished = false
    input.on('finish', () => {
      finished = true
    })
    input.end('bye')
    await turn()
    expect(finished).toBe(false)
    takeAll(input)
    await turn()
    expect(finished).toBe(true)
  })

  it('gives nothing after destroy(), and fails what was not taken', async () => {
    const input = new ConsoleInput()
    let failure: Error | null | undefined
    input.write('abc', (error) => {
      failure = error
    })
    input.destroy()
    await turn()
    expect(input.take()).toBe(-1)
    expect(failure).toMatchObject({ code: 'ERR_CLOSED' })
  })

  it('holds a flood of 100 MB with its sender while the guest reads slowly', async () => {
    let produced = 0
    const source = new Readable({
      read() {
        const chunk = Buffer.alloc(65536, 0x61)
        produced += chunk.length
        this.push(produced > 100_000_000 ? null : chunk)
      },
    })
    const input = new ConsoleInput()
    const uart = new Uart16550A({ irq: new FakeIrqLine(), output: { put() {} }, input })
    const flood = pipeline(source, input).catch(() => {})
    uart.write(reg.UART_FCR, 1, reg.UART_FCR_ENABLE_FIFO)
    let read = 0
    for (let i = 0; i < 1000; i++) {
      while (uart.read(reg.UART_LSR, 1) & reg.UART_LSR_DR) {
        uart.read(reg.UART_RBR, 1)
        read++
      }
      await turn()
    }
    expect(read).toBeGreaterThan(5000)
    expect(produced - read).toBeLessThan(512 * 1024)
    input.destroy()
    await flood
  })

  it.each([0, -1, 1.5, Number.NaN, 2 ** 21])('refuses a high water mark of %d', (highWaterMark) => {
    expect(() => new ConsoleInput({ highWaterMark })).toThrow(
      /highWaterMark: expected an integer from 1/,
    )
  })
})
