import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ShareBackend } from '../../../../lib/backends/share/share-backend.js'
import { VirtioFs } from '../../../../lib/devices/virtio/fs/virtio-fs.js'
import { DeviceRig } from '../../../helpers/device-rig.js'
import { turns, until } from '../../../helpers/virtio-driver.js'

/** Answers with what it was sent, at once or when it is told to: a real folder never takes long enough. */
class Echo implements ShareBackend {
  later = false
  resets = 0
  readonly waiting: (() => void)[] = []
  async open(): Promise<void> {}
  async close(): Promise<void> {}
  reset(): void {
    this.resets++
  }
  handle(request: Buffer, replyMax: number): Buffer | undefined | Promise<Buffer> {
    const answer = request.subarray(0, replyMax)
    if (!this.later) return answer
    return new Promise((resolve) => this.waiting.push(() => resolve(answer)))
  }
}

const REQUESTS = 1
let echo: Echo
let rig: DeviceRig<VirtioFs>
beforeEach(() => {
  echo = new Echo()
  rig = new DeviceRig(new VirtioFs(echo, { tag: 'work' }))
  rig.driver.start([], 128)
})
afterEach(async () => {
  await rig.close()
})

/** Offers a request with room for an answer; gives what the device says it has written. */
function offer(text: string, room: number, at = 0x100000): number {
  rig.memory.write(at, Buffer.from(text))
  return rig.driver.queues[REQUESTS]!.add([
    { address: at, length: text.length },
    ...(room > 0 ? [{ address: at + 0x1000, length: room, writable: true }] : []),
  ])
}

async function answered(count: number) {
  const ring = rig.driver.queues[REQUESTS]!
  await until(() => ring.deviceUsedIdx === ring.usedIdx + count, 'answers')
  return ring.used()
}

const text = 'a request of more than sixteen bytes'

describe('virtio-fs', () => {
  it('tells its tag and its one queue for requests', () => {
    expect(Buffer.from(rig.device.config.subarray(0, 4)).toString()).toBe('work')
    expect(rig.driver.read(0x100 + 36)).toBe(1)
  })

  it('carries a request to its backend, and the answer back', async () => {
    const id = offer(text, 100)
    rig.driver.kick(REQUESTS)
    expect(await answered(1)).toEqual([{ id, length: text.length }])
    expect(Buffer.from(rig.memory.read(0x101000, text.length)).toString()).toBe(text)
  })

  it('takes requests without an answer, and drops what is none', async () => {
    offer(text, 0)
    offer(text, 15, 0x110000)
    rig.driver.kick(REQUESTS)
    expect((await answered(2)).map(({ length }) => length)).toEqual([0, 0])
    expect(rig.device.counters).toEqual({ requests: 1, dropped: 1 })
  })

  it('answers in whatever order the answers come', async () => {
    echo.later = true
    const ids = [0, 1, 2].map((i) => offer(`${i}`.repeat(40), 100, 0x100000 + i * 0x2000))
    rig.driver.kick(REQUESTS)
    await until(() => echo.waiting.length === 3, 'the requests')
    for (const i of [2, 0, 1]) {
      echo.waiting[i]!()
      expect(await answered(1)).toEqual([{ id: ids[i], length: 40 }])
      expect(rig.memory.read(0x101000 + i * 0x2000, 1)[0]).toBe(0x30 + i)
    }
  })

  it('writes nothing after a reset', async () => {
    echo.later = true
    offer(text, 100)
    rig.driver.kick(REQUESTS)
    await until(() => echo.waiting.length === 1, 'the request')
    const before = echo.resets
    await rig.device.reset()
    expect(echo.resets).toBe(before + 1)
    echo.waiting[0]!()
    await turns(5)
    expect(Buffer.from(rig.memory.read(0x101000, 8)).equals(Buffer.alloc(8))).toBe(true)
    expect(rig.errors).toEqual([])
  })

  it('takes no more than a bound at a time', async () => {
    echo.later = true
    for (let i = 0; i < 64; i++) offer(text, 0)
    rig.driver.kick(REQUESTS)
    await until(() => echo.waiting.length === 64, 'the requests')
    offer(text, 0)
    rig.driver.kick(REQUESTS)
    await turns(10)
    expect(echo.waiting.length).toBe(64)
    echo.waiting[0]!()
    await until(() => echo.waiting.length === 65, 'the next')
  })

  it.each(['', 'x'.repeat(37), 'a\0', 5])('refuses the tag %j', (tag) => {
    expect(() => new VirtioFs(echo, { tag: tag as string })).toThrow('tag')
  })
})
