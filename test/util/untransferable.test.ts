import { expect, it } from 'vitest'
import { keepFromTransfer } from '../../lib/util/untransferable.js'

it('leaves a buffer such that native code can detach it, on every line of Node', () => {
  const buffer = new ArrayBuffer(8) as ArrayBuffer & { transfer?(): ArrayBuffer }
  keepFromTransfer(buffer)
  // What napi_detach_arraybuffer does, and, unlike it, says whether that is allowed.
  if (buffer.transfer) expect(buffer.transfer().byteLength).toBe(8)
  expect(buffer.byteLength).toBe(buffer.transfer ? 0 : 8)
})
