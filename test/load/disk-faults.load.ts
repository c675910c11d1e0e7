import { describe, expect, it } from 'vitest'
import { CustomDisk } from '../../lib/index.js'
import { BlockRig } from '../helpers/block-driver.js'
import { plainMemory } from '../helpers/guest-memories.js'
import { times } from './size.js'

const [OK, IOERR] = [0, 1]
const [IN, OUT, FLUSH] = [0, 1, 4]

/** A disk whose operation number `nth` fails, counted from 1. */
function failingDisk(nth: number): CustomDisk {
  const bytes = new Uint8Array(64 * 512)
  let operations = 0
  const attempt = () => {
    if (++operations === nth) throw Object.assign(new Error('a fault'), { code: 'EIO' })
  }
  return new CustomDisk({
    size: bytes.length,
    read: async (offset, length) => {
      attempt()
      return bytes.slice(offset, offset + length)
    },
    write: async (offset, data) => {
      attempt()
      bytes.set(data, offset)
    },
  })
}

describe('a disk', () => {
  it('LOAD-09 that fails once, at the nth operation: that request fails and no other', async () => {
    const requests = times(1000, 24)
    for (let nth = 1; nth <= requests; nth += Math.ceil(requests / 100)) {
      const backend = failingDisk(nth)
      await backend.open()
      const rig = new BlockRig(backend, plainMemory([0, 0x20_0000]))
      rig.driver.start([], 16)
      for (let i = 1; i <= nth + 3; i++) {
        const isRead = i % 2 === 0
        const data = [{ address: 0x8_0000, length: 512, writable: isRead }]
        const { status } = await rig.request(isRead ? IN : OUT, i % 64, data)
        if (status !== (i === nth ? IOERR : OK)) expect({ nth, i, status }).toBe('as it should be')
      }
      expect((await rig.request(FLUSH, 0, [])).status).toBe(OK)
      expect(rig.errors).toEqual([])
      await rig.close()
    }
  })
})
