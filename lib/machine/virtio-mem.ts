import { hotMemoryRanges } from '../arch/x86-64/layout.js'
import { VirtioMem } from '../devices/virtio/mem/virtio-mem.js'
import { VmmError } from '../errors.js'
import { formatByteSize } from '../util/byte-size.js'
import { HotMemory } from './hot-memory.js'
import type { MachineConfig } from './machine-config.js'
import * as check from './option-checks.js'
import type { Platform } from './platform.js'
import { awaitStop, type WaitLimits } from './stop-limits.js'

/** A machine's memory device, as its program sees it. Sizes are bytes. */
export interface VmVirtioMem {
  /** What the guest may have besides the option `memory` at most. */
  readonly maxSize: number
  /** What comes and goes together. */
  readonly blockSize: number
  /** What it has been asked to have. */
  readonly requested: number
  /** What it has plugged. */
  readonly plugged: number
  /** Its guest's requests, by answer. */
  readonly counters: Readonly<VirtioMem['counters']>
  /**
   * Asks the guest to plug or unplug memory until it has `size` besides the option `memory`, and resolves when it has.
   * A guest unplugs what it can free of use, which may take long, or stay less than was asked for; `limits` ends the
   * waiting, not the request.
   * @param size a multiple of `blockSize` up to `maxSize`: bytes, or text such as `'1G'`
   * @throws VmmError `ERR_INVALID_OPTION`; `ERR_TIMEOUT`; `ERR_STATE` when another size is asked for meanwhile, or the guest
   *   ends; the signal's reason
   * @example
   * ```ts
   * await vm.virtioMem?.resize('1G', { timeout: 10_000 })
   * ```
   */
  resize(size: number | string, limits?: WaitLimits): Promise<void>
}

interface Waiting {
  resolve(): void
  reject(error: Error): void
}

/** What an error says of a guest that takes longer than was waited for. */
export const HOT_SIZE_LATE = 'the guest has not plugged or unplugged as much'

/** @throws VmmError `ERR_INVALID_OPTION` */
export function checkHotSize(
  given: unknown,
  { blockSize, maxSize }: Pick<VmVirtioMem, 'blockSize' | 'maxSize'>,
): number {
  const expected = `a multiple of ${formatByteSize(blockSize)} up to ${formatByteSize(maxSize)}`
  const fits = (bytes: number) => bytes >= 0 && bytes <= maxSize && bytes % blockSize === 0
  return check.byteSize(() => expected, fits)(given, 'size')
}

/** {@link VmVirtioMem} of a machine in this process. */
export class LocalVirtioMem implements VmVirtioMem {
  readonly device: VirtioMem
  #waiting: Waiting | undefined

  constructor(device: VirtioMem) {
    this.device = device
    device.onPlugged = () => this.#look()
  }

  get maxSize(): number {
    return this.device.regionSize
  }

  get blockSize(): number {
    return this.device.blockSize
  }

  get requested(): number {
    return this.device.requested
  }

  get plugged(): number {
    return this.device.plugged
  }

  get counters(): Readonly<VirtioMem['counters']> {
    return this.device.counters
  }

  async resize(size: number | string, limits: WaitLimits = {}): Promise<void> {
    const bytes = checkHotSize(size, this)
    let waiting!: Waiting
    const reached = new Promise<void>((resolve, reject) => {
      waiting = { resolve, reject }
    })
    reached.catch(() => {}) // whoever waits is told; nobody may be waiting any more
    const wait = awaitStop(reached, limits, HOT_SIZE_LATE)
    this.device.requested = bytes
    this.#waiting?.reject(new VmmError('ERR_STATE', 'another size has been asked for meanwhile'))
    this.#waiting = waiting
    this.#look()
    await wait()
  }

  /** The guest has ended. */
  end(): void {
    this.#waiting?.reject(new VmmError('ERR_STATE', 'the guest has ended'))
    this.#waiting = undefined
  }

  #look(): void {
    if (this.device.plugged !== this.device.requested) return
    this.#waiting?.resolve()
    this.#waiting = undefined
  }
}

/** The memory device that the options ask for. */
export function createVirtioMem(
  { vm, memory, resettable }: Pick<Platform, 'vm' | 'memory' | 'resettable'>,
  { memory: ramSize, virtioMem, numa }: MachineConfig,
): LocalVirtioMem | undefined {
  if (virtioMem === undefined) return undefined
  const { maxSize, size, blockSize, node } = virtioMem
  const start = hotMemoryRanges(ramSize, maxSize)[0]!.guestAddress
  const device = new VirtioMem(new HotMemory(vm, memory, { start, size: maxSize }), {
    ...{ address: start, regionSize: maxSize, blockSize, requestedSize: size },
    node: numa && node,
  })
  resettable.push({ reset: () => device.systemReset() })
  return new LocalVirtioMem(device)
}
