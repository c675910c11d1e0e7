import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AgentLink } from '../../lib/agent/agent-link.js'
import { GuestAgent } from '../../lib/agent/guest-agent.js'
import {
  CREDIT,
  DATA,
  EOF,
  EXIT,
  encodeFrame,
  encodeWords,
  FAILED,
  FrameDecoder,
  HELLO,
  HELLO_MAGIC,
  OUTPUT_WINDOW,
  PROTOCOL_VERSION,
  STARTED,
} from '../../lib/agent/protocol.js'
import { VmmError } from '../../lib/errors.js'
import { PATIENCE } from '../helpers/process-state.js'
import { AgentRig, codeOf, duplexPair } from './agent-rig.js'

const hello = encodeFrame(HELLO, 0, encodeWords(HELLO_MAGIC, PROTOCOL_VERSION))

/** An agent of ours to talk to, and the guest's end of its connection. */
function connected(startTimeout = PATIENCE) {
  const link = new AgentLink()
  const agent = new GuestAgent(link, startTimeout)
  const [host, guest] = duplexPair()
  guest.on('error', () => {})
  link.attach(host)
  return { link, agent, host, guest }
}

describe('a guest', () => {
  it('without an agent is not waited for beyond the limit', async () => {
    const agent = new GuestAgent(new AgentLink(), 50)
    await expect(agent.exec(['true'])).rejects.toMatchObject({
      code: 'ERR_AGENT',
      expected: expect.stringContaining('node-kvm-agent'),
    })
    expect(await codeOf(agent.exec(['true'], { timeout: 10 }))).toBe('ERR_TIMEOUT')
  })

  it('whose agent is of another version is told so', async () => {
    const { agent, guest } = connected()
    guest.write(encodeFrame(HELLO, 0, encodeWords(HELLO_MAGIC, PROTOCOL_VERSION + 1)))
    await expect(agent.exec(['true'])).rejects.toMatchObject({
      code: 'ERR_AGENT_VERSION',
      value: PROTOCOL_VERSION + 1,
    })
  })

  it('that never answers holds nobody beyond their limit', async () => {
    const { agent, guest } = connected()
    guest.write(hello)
    expect(await codeOf(agent.exec(['true'], { timeout: 30 }))).toBe('ERR_TIMEOUT')
    expect(await codeOf(agent.ping({ timeout: 30 }))).toBe('ERR_TIMEOUT')
    expect(await codeOf(agent.readFile('/x', { timeout: 30 }))).toBe('ERR_TIMEOUT')
    expect(await codeOf(agent.writeFile('/x', 'y', { timeout: 30 }))).toBe('ERR_TIMEOUT')
    for (let i = 3; i < 32; i++) await codeOf(agent.exec(['true'], { timeout: 1 }))
    expect(await codeOf(agent.exec(['true'], { timeout: 30 }))).toBe('ERR_AGENT')
  })

  it('that ends is told of at once', async () => {
    const { agent, link, guest } = connected()
    guest.write(hello)
    const run = codeOf(agent.exec(['true']))
    setImmediate(() => link.end(new VmmError('ERR_AGENT', 'the guest has ended: killed')))
    expect(await run).toBe('ERR_AGENT')
    await expect(agent.exec(['true'])).rejects.toThrow('killed')
  })

  it('whose agent connects anew is served anew', async () => {
    const { agent, link, guest } = connected()
    guest.write(hello)
    await new Promise(setImmediate)
    const run = codeOf(agent.exec(['true']))
    const [host, other] = duplexPair()
    link.attach(host)
    other.write(hello)
    expect(await run).toBe('ERR_AGENT')
    expect(agent.connected).toBe(true)
  })

  const started = encodeFrame(STARTED, 1, encodeWords(5))
  it.each([
    ['data without hello', [encodeFrame(DATA, 1, Buffer.alloc(1), 1)], false],
    ['hello with other magic', [encodeFrame(HELLO, 0, encodeWords(1, PROTOCOL_VERSION))], false],
    ['a frame about no session', [encodeFrame(EXIT, 77, encodeWords(0, 0))], true],
    ['output before the start', [encodeFrame(DATA, 1, Buffer.alloc(1), 1)], true],
    ['two starts', [started, started], true],
    ['a start without a process', [encodeFrame(STARTED, 1, encodeWords(0))], true],
    ['output on no stream', [started, encodeFrame(DATA, 1, Buffer.alloc(1), 3)], true],
    [
      'output after its end',
      [started, encodeFrame(EOF, 1, undefined, 1), encodeFrame(DATA, 1, Buffer.alloc(1), 1)],
      true,
    ],
    [
      'two ends',
      [started, encodeFrame(EXIT, 1, encodeWords(0, 0)), encodeFrame(EXIT, 1, encodeWords(0, 0))],
      true,
    ],
    [
      'more credit than there was',
      [started, encodeFrame(CREDIT, 1, encodeWords(2 ** 31), 0)],
      true,
    ],
    ['a failure without a reason', [encodeFrame(FAILED, 1)], true],
    ['a failure by nothing', [encodeFrame(FAILED, 1, encodeWords(0, 0))], true],
    ['an unknown frame', [started, encodeFrame(200, 1)], true],
    ['a long frame', [Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])], true],
  ])('that sends %s is cut off', async (_, frames, greet) => {
    const { agent, guest, host } = connected()
    const run = codeOf(agent.exec(['true']))
    if (greet) guest.write(hello)
    await new Promise((resolve) => setTimeout(resolve, 20))
    for (const frame of frames) guest.write(frame)
    expect(await run).toBe('ERR_AGENT_PROTOCOL')
    expect(host.destroyed).toBe(true)
  })

  it('that sends more output than was granted is cut off', async () => {
    const { agent, guest } = connected()
    guest.write(hello)
    const spawned = agent.spawn(['true'])
    await new Promise((resolve) => setTimeout(resolve, 20))
    guest.write(started)
    const process = await spawned
    for (let i = 0; i < OUTPUT_WINDOW / 32768; i++) {
      guest.write(encodeFrame(DATA, 1, Buffer.alloc(32768), 1))
    }
    await new Promise(setImmediate)
    expect(process.stdout.readableLength).toBe(OUTPUT_WINDOW)
    guest.write(encodeFrame(DATA, 1, Buffer.alloc(1), 1))
    expect(await codeOf(process.exited)).toBe('ERR_AGENT_PROTOCOL')
  })

  it('that sends anything at all ends no more than its connection', async () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
      fc
        .record({
          type: fc.integer({ min: 0, max: 16 }),
          session: fc.integer({ min: 0, max: 3 }),
          stream: fc.integer({ min: 0, max: 4 }),
          words: fc.array(fc.oneof(fc.nat(100), fc.nat(2 ** 31 - 1)), { maxLength: 4 }),
        })
        .map(({ type, session, stream, words }) =>
          encodeFrame(type, session, encodeWords(...words), stream),
        ),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(anything, { maxLength: 12 }), async (messages) => {
        const { agent, guest, link } = connected()
        guest.write(hello)
        const runs = Promise.allSettled([
          agent.exec(['a'], { stdin: 'input' }),
          agent.readFile('b'),
          agent.writeFile('c', 'data'),
        ])
        await new Promise(setImmediate)
        for (const message of messages) guest.write(message)
        await new Promise(setImmediate)
        link.end(new VmmError('ERR_AGENT', 'over'))
        for (const run of await runs) {
          if (run.status === 'rejected') expect(run.reason).toBeInstanceOf(VmmError)
        }
      }),
      { numRuns: 300 },
    )
  })
})

describe('the agent', () => {
  it('outlives nothing but its connection, whatever the host sends', async () => {
    const message = fc
      .record({
        type: fc.integer({ min: 0, max: 16 }),
        session: fc.integer({ min: 0, max: 3 }),
        stream: fc.integer({ min: 0, max: 4 }),
        payload: fc.oneof(
          fc.uint8Array({ maxLength: 64 }),
          fc.array(fc.nat(9), { maxLength: 8 }).map((words) => encodeWords(...words)),
          fc.constantFrom(
            Buffer.concat([encodeWords(0, 0, 0, 0, 1, 0), Buffer.from('/\0cat\0')]),
            Buffer.concat([encodeWords(1, 0, 0, 9, 1, 0), Buffer.from('/\0cat\0')]),
            Buffer.concat([encodeWords(0, 0, 0, 0, 1, 1), Buffer.from('/\0cat')]),
            Buffer.from('/etc/passwd\0'),
            Buffer.alloc(32768),
          ),
        ),
      })
      .filter(({ type }) => type !== 4) // it would write files wherever
      .map(({ type, session, stream, payload }) => encodeFrame(type, session, payload, stream))
    await fc.assert(
      fc.asyncProperty(fc.array(message, { maxLength: 20 }), async (messages) => {
        const decoder = new FrameDecoder()
        await using rig = await AgentRig.start((socket) => {
          socket.on('error', () => {})
          // What it answers are frames, to the last.
          socket.on('data', (chunk) => decoder.push(chunk))
          for (const bytes of messages) socket.write(bytes)
          setTimeout(() => socket.end(), 10)
        })
        expect(await rig.ended).toBe(0)
        expect(rig.child.signalCode).toBe(null)
      }),
      { numRuns: 60 },
    )
  })
})
