import { expect, it } from 'vitest'
import { UART_PORTS } from '../../../lib/devices/serial/registers.js'
import { Uart16550A } from '../../../lib/devices/serial/uart-16550a.js'
import { IoctlIrqLine } from '../../../lib/interrupt/ioctl-irq.js'
import { KVM_MP_STATE_RUNNABLE } from '../../../lib/kvm.js'
import { le16 } from '../../../lib/util/bits.js'
import * as asm from '../../helpers/real-mode.js'
import { type RunLoopRigOptions, recorder, runLoopRig } from '../../helpers/run-loop-rig.js'

const COM1 = 0x3f8
const THR = COM1
const IER = COM1 + 1
const IIR = COM1 + 2
const LSR = COM1 + 5
const COM1_GSI = 4
const DONE_PORT = 0xf4
const HANDLER = 0x3000
const TEXT = 0x4000
const LIMIT = 30_000

/** Enables the transmitter's interrupt and then does nothing but wait. */
const main = [
  ...asm.takeIrq4(HANDLER),
  ...asm.movSi(TEXT),
  ...asm.outb(COM1 + 2, 0x01), //                               FIFO
  ...asm.outb(COM1 + 4, 0x0b), //                               DTR RTS OUT2
  ...asm.outb(IER, 0x02), //                                    THRI
  ...asm.awaitInterrupts,
]
const endOfInterrupt = [...asm.movAl(0x20), ...asm.out8(0x20), 0xcf] // iret
/** lodsb; test al, al; and past `body` if that was the text's end, which it tells of. */
const character = (body: readonly number[]) => [
  ...[0xac, 0x84, 0xc0, 0x75, 0x04], //                     jnz over the next two
  ...[0xe6, DONE_PORT, 0xeb, body.length], //               out DONE_PORT, al; jmp past
  ...body,
]
const send = character([...asm.movDx(THR), 0xee])

/** Sends one character for each interrupt. */
const single = [
  ...[...asm.inb(IIR), 0xa8, 0x01, 0x75, send.length], //       test al, 1; jnz end
  ...send,
  ...endOfInterrupt,
]

/** Sends sixteen for each time that IIR shows the interrupt, as Linux does, and goes on until it does not. */
const burst = (() => {
  const sixteen = [0xbb, ...le16(16), ...send, 0x4b, 0x75, -(send.length + 3) & 0xff] // mov bx, 16; dec bx; jnz
  const test = [...asm.inb(IIR), 0xa8, 0x01, 0x75, sixteen.length + 2]
  return [...test, ...sixteen, 0xeb, -(test.length + sixteen.length + 2) & 0xff, ...endOfInterrupt]
})()

async function sent(
  handler: readonly number[],
  text: string,
  options: RunLoopRigOptions,
  others: readonly (readonly number[])[] = [],
) {
  using rig = runLoopRig([main, ...others], { irqchip: true, ...options })
  for (const vcpu of rig.vcpus) vcpu.setMpState(KVM_MP_STATE_RUNNABLE)
  rig.memory.write(HANDLER, Uint8Array.from(handler))
  rig.memory.write(TEXT, Buffer.from(`${text}\0`))
  let output = ''
  const irq = new IoctlIrqLine(rig.vm, COM1_GSI)
  const put = (byte: number) => {
    output += String.fromCharCode(byte)
  }
  rig.pio.attach(COM1, UART_PORTS, new Uart16550A({ irq, output: { put } }))
  const done = new Promise<void>((resolve) => {
    rig.pio.attach(DONE_PORT, 1, { ...recorder(), write: () => resolve() })
  })
  rig.loop.run()
  await done
  rig.loop.stop()
  return { output, counters: rig.loop.counters() }
}

const TEXT_OF_2000 = 'The quick brown fox jumps over the lazy dog, again and again, and on. '
  .repeat(30)
  .slice(0, 2000)

it.each([true, false])(
  'sends what an interrupt handler writes without a wait for JavaScript; coalesced: %s',
  async (coalescing) => {
    const { output, counters } = await sent(burst, TEXT_OF_2000, { coalescing })
    expect(output).toBe(TEXT_OF_2000)
    // Each of the sixteens takes a read of IIR.
    expect(counters[0]!.latched).toBeGreaterThanOrEqual(2000 / 16 - 10)
    expect(counters[0]!.synchronous).toBeLessThan(20)
  },
  LIMIT,
)

it(
  'interrupts a guest that has written and halts, without an exit to JavaScript',
  async () => {
    const { output, counters } = await sent(single, TEXT_OF_2000, { coalescing: false })
    expect(output).toBe(TEXT_OF_2000)
    expect(counters[0]!.synchronous).toBeLessThan(20)
  },
  LIMIT,
)

it(
  'interrupts a guest that has written and halts when any other vCPU exits, or a timer looks',
  async () => {
    const polling = asm.forever([...asm.inb(LSR)])
    const text = TEXT_OF_2000.slice(0, 500)
    const { output } = await sent(single, text, { coalescing: true }, [polling])
    expect(output).toBe(text)
    const alone = await sent(single, 'abc', { coalescing: true })
    expect(alone.output).toBe('abc')
  },
  LIMIT,
)
