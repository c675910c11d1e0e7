import { markAsUntransferable } from 'node:worker_threads'

/**
 * Whether a marked buffer can still be detached. Node 24 marks by a key that V8 wants for that, which native code cannot
 * give: napi_detach_arraybuffer ends the process then.
 */
const marksLeaveDetachable = ((): boolean => {
  if (!('transfer' in ArrayBuffer.prototype)) return true
  const probe = new ArrayBuffer(8)
  markAsUntransferable(probe)
  try {
    ;(probe as ArrayBuffer & { transfer(): ArrayBuffer }).transfer()
    return true
  } catch {
    return false
  }
})()

/**
 * Has `postMessage` refuse to transfer a buffer that native code will detach. Where that cannot be had, whoever transfers
 * it has its memory until the last view of it is gone.
 */
export function keepFromTransfer(buffer: ArrayBuffer): void {
  if (marksLeaveDetachable) markAsUntransferable(buffer)
}
