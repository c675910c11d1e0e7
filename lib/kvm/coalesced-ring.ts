import { KVM_COALESCED_MMIO_PAGE_OFFSET } from './abi/memory.js'

/** One write of the guest that made no exit. */
export interface CoalescedWrite {
  /** Ports or memory. */
  space: 'pio' | 'mmio'
  /** The port, or the guest-physical address. */
  address: number
  /** The bytes written, a copy. */
  data: Uint8Array
}

const PAGE = 4096
const HEADER = 8
const ENTRY = 24
const CAPACITY = Math.floor((PAGE - HEADER) / ENTRY)

/** The ring that KVM fills with writes to the zones of `vm.registerCoalescedMmio()`: KVM_CAP_COALESCED_MMIO. */
export class CoalescedRing {
  readonly #view: DataView
  /** Where the next write is to be taken from, and where KVM puts the next. */
  readonly #indices: Int32Array

  constructor(runPage: ArrayBuffer) {
    const start = KVM_COALESCED_MMIO_PAGE_OFFSET * PAGE
    this.#view = new DataView(runPage, start, PAGE)
    this.#indices = new Int32Array(runPage, start, 2)
  }

  /** Takes the oldest write; undefined when there is none. */
  take(): CoalescedWrite | undefined {
    const first = Atomics.load(this.#indices, 0) % CAPACITY
    if (first < 0 || first === Atomics.load(this.#indices, 1)) return undefined
    const at = HEADER + first * ENTRY
    const address =
      this.#view.getUint32(at + 4, true) * 0x1_0000_0000 + this.#view.getUint32(at, true)
    const length = Math.min(this.#view.getUint32(at + 8, true), 8)
    const space = this.#view.getUint32(at + 12, true) === 0 ? 'mmio' : 'pio'
    const data = new Uint8Array(this.#view.buffer, this.#view.byteOffset + at + 16, length).slice()
    Atomics.store(this.#indices, 0, (first + 1) % CAPACITY)
    return { space, address, data }
  }
}
