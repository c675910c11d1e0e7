import { GuestAccess } from '../../../lib/devices/virtio/queue/guest-access.js'
import { PackedVirtqueue } from '../../../lib/devices/virtio/queue/packed-virtqueue.js'
import { SplitVirtqueue } from '../../../lib/devices/virtio/queue/split-virtqueue.js'
import type { Virtqueue } from '../../../lib/devices/virtio/queue/virtqueue.js'
import { plainMemory } from '../../helpers/guest-memories.js'
import { check, type FuzzTarget, Input } from './target.js'

const RAM = 0x1000
const SIZE = 8
const memory = plainMemory([0, RAM])
const access = new GuestAccess(memory)

/** Memory with three areas of a ring, filled by the input, and pops and pushes in the order that it says. */
function walk(data: Uint8Array, isPacked: boolean): void {
  const input = new Input(data)
  const options = input.u8()
  memory.fill(0, RAM)
  let broken = 0
  const events = { interrupt: () => {}, broken: () => broken++ }
  const features = {
    indirect: (options & 1) !== 0,
    eventIdx: (options & 2) !== 0,
    inOrder: (options & 4) !== 0,
    chainCountMax: 16,
  }
  const geometry = { size: SIZE, descriptorArea: 0x100, driverArea: 0x200, deviceArea: 0x300 }
  const queue: Virtqueue = isPacked
    ? new PackedVirtqueue(0, geometry, access, features, events)
    : new SplitVirtqueue(0, geometry, access, features, events)
  const held: number[] = []
  for (let steps = 0; steps < 200 && !input.done; steps++) {
    const step = input.u8() % 8
    if (step < 3) {
      const at = [0x100, 0x200, 0x400][step]! + (input.u8() & (step === 1 ? 0x1f : 0x7f))
      memory.write(at, input.bytes(1 + (input.u8() & 0x1f)))
    } else if (step < 5) checkPop(queue, held)
    else if (step === 5) {
      const id = held.splice(input.u8() % Math.max(held.length, 1), 1)[0]
      queue.push(id ?? input.u16(), input.u32())
    } else if (step === 6) queue.publish()
    else if (input.u8() & 1) queue.enableNotifications()
    else queue.disableNotifications()
    check(queue.inFlight >= 0 && queue.inFlight <= SIZE, `${queue.inFlight} in flight of ${SIZE}`)
    check(broken <= 1, 'a queue broke twice')
    check(broken === 0 || queue.stopped, 'a broken queue goes on')
  }
}

function checkPop(queue: Virtqueue, held: number[]): void {
  const chain = queue.pop()
  if (chain === undefined) return
  check(chain.id < queue.idCount && !held.includes(chain.id), 'an id is in flight twice')
  held.push(chain.id)
  check(chain.count <= 16, 'a chain is longer than it may be')
  let [readable, writable] = [0, 0]
  for (let i = 0; i < chain.count; i++) {
    check(chain.lengths[i]! > 0, 'an empty segment')
    check(chain.addresses[i]! <= 2 ** 53, 'an address is none')
    if (i < chain.readableCount) readable += chain.lengths[i]!
    else writable += chain.lengths[i]!
  }
  check(readable === chain.readableLength, 'readable bytes do not add up')
  check(writable === chain.writableLength, 'writable bytes do not add up')
  chain.read(0, new Uint8Array(16))
  chain.write(0, new Uint8Array(16))
}

/** Two chains, and what takes them up. */
const splitSeed = Uint8Array.from([
  ...[3, 0, 0, 31, ...[0, 4, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0]],
  ...[0, 4, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 2, 0, 0, 0],
  ...[1, 0, 7, 0, 0, 2, 0, 0, 0, 0, 0],
  ...[3, 3, 5, 0, 0, 0, 0, 0, 6, 7, 1],
])
const packedSeed = Uint8Array.from([
  ...[3, 0, 0, 15, ...[0, 4, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0x80, 0]],
  ...[3, 5, 0, 0, 0, 0, 0, 6, 7, 1],
])

export const splitRing: FuzzTarget = {
  about: 'the walk of a split virtqueue',
  seeds: () => [splitSeed],
  run: (data) => walk(data, false),
}
export const packedRing: FuzzTarget = {
  about: 'the walk of a packed virtqueue',
  seeds: () => [packedSeed],
  run: (data) => walk(data, true),
}
