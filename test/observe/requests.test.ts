import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import * as blk from '../../lib/devices/virtio/block/abi.js'
import { Trace } from '../../lib/observe/trace.js'
import { requestChannel } from '../../lib/util/diagnostics.js'
import { BlockRig } from '../helpers/block-driver.js'
import { plainMemory } from '../helpers/guest-memories.js'

it('a trace has disk requests, from their begin to their end', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'node-kvm-requests-'))
  const path = join(folder, 'disk.img')
  writeFileSync(path, new Uint8Array(8192))
  const rig = await BlockRig.file(path, plainMemory([0, 0x100000]), { engine: 'js' })
  rig.driver.start([])
  const data = [{ address: 0x80000, length: 1024, writable: true }]
  using trace = new Trace()
  await rig.request(blk.VIRTIO_BLK_T_IN, 3, data)
  await rig.request(blk.VIRTIO_BLK_T_IN, 1000, data)
  trace.close()
  expect(requestChannel.hasSubscribers).toBe(false)
  await rig.request(blk.VIRTIO_BLK_T_IN, 3, data)
  await rig.close()
  rmSync(folder, { recursive: true })

  const { traceEvents } = trace.toJSON()
  const read = { type: blk.VIRTIO_BLK_T_IN, length: 1024 }
  expect(traceEvents).toMatchObject([
    { ph: 'b', cat: 'request', args: { ...read, offset: 3 * 512 } },
    { ph: 'e', args: { status: blk.VIRTIO_BLK_S_OK } },
    { ph: 'b', args: { ...read, offset: 1000 * 512 } },
    { ph: 'e', args: { status: blk.VIRTIO_BLK_S_IOERR } },
  ])
  for (const at of [0, 2]) expect(traceEvents[at]!.id).toBe(traceEvents[at + 1]!.id)
})
