import { setImmediate as nextTurn } from 'node:timers/promises'
import type { MemoryBlocks } from '../devices/virtio/mem/virtio-mem.js'
import type { VmFd } from '../kvm/vm-fd.js'
import type { MappedGuestMemory } from '../memory/mapping.js'

/** Memory slots between those of RAM, numbered upwards from 0, and those of firmware. */
const FIRST_SLOT = 256
const SLOTS_MAX = 128
/** Linux adds memory in blocks of this size, mostly. */
const SLOT_SIZE_MIN = 2 ** 27
/** Bytes given back to the host in one turn of the event loop; no slot, and no region, ends inside of such a step. */
const STEP = 2 ** 26

/**
 * The memory behind a memory device. It is mapped in this process from the beginning, as which the host gives no page; in
 * the guest a part of it is a memory slot as long as anything in that part is plugged. So a guest that touches what it
 * has not plugged gets no memory, but for the rest of such a part.
 */
export class HotMemory implements MemoryBlocks {
  readonly #vm: VmFd
  readonly #memory: MappedGuestMemory
  readonly #start: number
  readonly #slotSize: number
  /** Bytes plugged in each part. */
  readonly #plugged: number[]
  readonly #size: number

  /** @param range all of the regions of `memory` that are hot-pluggable, which follow one another */
  constructor(
    vm: VmFd,
    memory: MappedGuestMemory,
    { start, size }: { start: number; size: number },
  ) {
    this.#vm = vm
    this.#memory = memory
    this.#start = start
    this.#size = size
    this.#slotSize = Math.max(SLOT_SIZE_MIN, 2 ** Math.ceil(Math.log2(size / SLOTS_MAX)))
    this.#plugged = Array.from({ length: Math.ceil(size / this.#slotSize) }, () => 0)
  }

  /** @throws KvmError: nothing is plugged then */
  plug(offset: number, size: number): void {
    const made: number[] = []
    try {
      for (const { part } of this.#parts(offset, size)) {
        if (this.#plugged[part]! > 0) continue
        this.#setSlot(part)
        made.push(part)
      }
    } catch (error) {
      for (const part of made) this.#deleteSlot(part)
      throw error
    }
    for (const { part, bytes } of this.#parts(offset, size)) this.#plugged[part]! += bytes
  }

  async unplug(offset: number, size: number): Promise<void> {
    for (const { part, bytes } of this.#parts(offset, size)) {
      this.#plugged[part]! -= bytes
      if (this.#plugged[part] === 0) this.#deleteSlot(part)
    }
    for (let at = offset; at < offset + size; ) {
      const end = Math.min(offset + size, at + STEP - (at % STEP))
      if (this.#memory.closed) return
      const region = this.#memory.findRegion(this.#start + at, end - at)!
      region.discard?.(this.#start + at - region.guestAddress, end - at)
      at = end
      if (at < offset + size) await nextTurn()
    }
  }

  *#parts(offset: number, size: number): Generator<{ part: number; bytes: number }> {
    for (let at = offset; at < offset + size; ) {
      const part = Math.floor(at / this.#slotSize)
      const end = Math.min(offset + size, (part + 1) * this.#slotSize)
      yield { part, bytes: end - at }
      at = end
    }
  }

  #setSlot(part: number): void {
    const { guestAddress, size } = this.#place(part)
    const { mapping, guestAddress: base } = this.#memory.regions.find(
      (region) => region === this.#memory.findRegion(guestAddress, size),
    )!
    const offset = guestAddress - base
    this.#vm.setUserMemoryRegion({ slot: FIRST_SLOT + part, guestAddress, size, mapping, offset })
  }

  #deleteSlot(part: number): void {
    if (this.#vm.closed) return
    const { guestAddress } = this.#place(part)
    this.#vm.setUserMemoryRegion({ slot: FIRST_SLOT + part, guestAddress, size: 0 })
  }

  #place(part: number): { guestAddress: number; size: number } {
    const offset = part * this.#slotSize
    const size = Math.min(this.#slotSize, this.#size - offset)
    return { guestAddress: this.#start + offset, size }
  }
}
