import { expect, it } from 'vitest'
import { payload } from '../helpers/payloads.js'
import { recorder, runLoopRig } from '../helpers/run-loop-rig.js'

it('smoke', async () => {
  using rig = runLoopRig([payload.outByte(0x10, 0x41)])
  const device = recorder()
  rig.pio.attach(0x10, 1, device)
  rig.loop.run()
  expect(await rig.ended).toEqual({ kind: 'halted', detail: expect.any(String) })
  expect(device.accesses).toEqual([['write', 0, 1, 0x41]])
})
