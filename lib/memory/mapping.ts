import {
  binding,
  type MappingOptions,
  type NativeAddressSpace,
  type NativeMapping,
} from '../binding.js'
import { invalidOption } from '../errors.js'
import { keepFromTransfer } from '../util/untransferable.js'
import { GuestMemory } from './guest-memory.js'
import type { GuestRegion } from './guest-region.js'

/** One region to make: {@link createGuestMemory}. */
export interface GuestRegionOptions {
  /** Guest-physical address of the first byte: a multiple of 4096. */
  guestAddress: number
  /** Bytes: a multiple of 4096. At most 4 GiB (Node's limit on an ArrayBuffer). */
  size: number
  /** {@link GuestRegion.hotPluggable}. `false` unless told. */
  hotPluggable?: boolean
}

/** What {@link createGuestMemory} makes memory of. */
export interface GuestMemoryOptions extends Omit<MappingOptions, 'fd'> {
  /** Keep what is touched from being swapped out (mlock2). `false` unless told. */
  locked?: boolean
  /** For each region the descriptor of a memfd that there is already: see {@link MappingOptions.fd}. */
  fds?: readonly number[]
}

/** A region of memory that a KVM slot can map. */
export interface MappedRegion extends GuestRegion {
  /** The addon's object, for the addon's other classes. */
  readonly mapping: NativeMapping
}

/** What {@link MappedGuestMemory.register} needs of a `VmFd`. */
export interface MemorySlots {
  /** KVM_SET_USER_MEMORY_REGION; a size of 0 takes the slot away. */
  setUserMemoryRegion(region: {
    slot: number
    guestAddress: number
    size: number
    mapping: NativeMapping
    flags?: number
  }): void
}

/** Guest memory in mappings of this process, shared by the guest, native I/O and JavaScript without a copy. */
export class MappedGuestMemory extends GuestMemory {
  /** In the order of their addresses. */
  declare readonly regions: readonly MappedRegion[]
  /** The same ranges for native I/O. */
  readonly addressSpace: NativeAddressSpace

  constructor(regions: readonly MappedRegion[]) {
    super(regions)
    this.addressSpace = new (binding().AddressSpace)()
    for (const { guestAddress, size, mapping } of this.regions) {
      this.addressSpace.add(guestAddress, size, mapping, 0)
    }
  }

  override get ram(): readonly MappedRegion[] {
    return this.regions.filter(({ hotPluggable }) => !hotPluggable)
  }

  /** Makes every region of {@link ram} a memory slot of a VM, numbered upwards from `firstSlot`. */
  register(vm: MemorySlots, firstSlot = 0, flags = 0): void {
    this.ram.forEach(({ guestAddress, size, mapping }, index) => {
      vm.setUserMemoryRegion({ slot: firstSlot + index, guestAddress, size, mapping, flags })
    })
  }

  /** False if anything wrote past a region's ends. Always true without the option `canaries`. */
  canariesIntact(): boolean {
    return this.regions.every((region) => region.mapping.canariesIntact())
  }

  /**
   * Detaches every view. The memory itself goes once no slot, no I/O in flight and no other thread uses it: until the
   * VM's descriptors are closed the guest keeps it.
   */
  override close(): void {
    if (this.closed) return
    super.close()
    this.addressSpace.close()
  }
}

const PAGE = 4096
/** Node 20's limit on one ArrayBuffer; later versions allow more, but no guest needs a region to be larger. */
const MAXIMUM_REGION = 2 ** 32

/**
 * Guest memory of the given regions, zero-filled, taken from the host page by page as it is touched.
 * @throws VmmError `ERR_INVALID_OPTION` for an address or size that is no multiple of a page, or overlaps another
 * region; KvmError when the host refuses: `ENOMEM`, or `EPERM` of what is to be locked. Nothing is left behind in either case.
 */
export function createGuestMemory(
  regions: readonly GuestRegionOptions[],
  { fds, ...options }: GuestMemoryOptions = {},
): MappedGuestMemory {
  const made: MappedRegion[] = []
  try {
    regions.forEach(({ guestAddress, size, hotPluggable = false }, index) => {
      check(
        guestAddress,
        `regions[${index}].guestAddress`,
        0,
        Number.MAX_SAFE_INTEGER - MAXIMUM_REGION,
      )
      check(size, `regions[${index}].size`, PAGE, MAXIMUM_REGION)
      const fd = fds?.[index]
      const own = { ...options, ...(fd !== undefined && { fd }) }
      made.push({ ...mapRegion(guestAddress, size, own), hotPluggable })
    })
    return new MappedGuestMemory(made)
  } catch (error) {
    for (const region of made) region.close()
    throw error
  }
}

function mapRegion(
  guestAddress: number,
  size: number,
  options: Omit<GuestMemoryOptions, 'fds'> & Pick<MappingOptions, 'fd'>,
): MappedRegion {
  // Of huge pages there may be a part of the last that no guest sees.
  const unit = options.hugePageSize || PAGE
  const mapping = new (binding().Mapping)(Math.ceil(size / unit) * unit, options)
  try {
    const buffer = mapping.buffer(0, size)
    keepFromTransfer(buffer)
    const bytes = new Uint8Array(buffer)
    if (options.locked) mapping.lock()
    const region = { guestAddress, size, buffer, bytes, mapping, close: () => mapping.close() }
    // The kernel gives back neither locked pages nor parts of huge ones.
    if (options.locked || options.hugePageSize) return region
    return { ...region, discard: (offset, length) => mapping.discard(offset, length) }
  } catch (error) {
    mapping.close()
    throw error
  }
}

function check(value: number, option: string, minimum: number, maximum: number): void {
  if (Number.isInteger(value) && value >= minimum && value <= maximum && value % PAGE === 0) return
  throw invalidOption(option, value, `a multiple of ${PAGE} from ${minimum} to ${maximum}`)
}
