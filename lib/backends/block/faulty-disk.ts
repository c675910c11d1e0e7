import { invalidOption } from '../../errors.js'
import type { BlockAttachment, BlockBackend, BlockChannel, BlockGeometry } from './block-backend.js'
import { type CheckedFault, checkFault, type DiskFault, type DiskOperation } from './disk-fault.js'
import { FaultyChannel } from './faulty-channel.js'

interface Injected extends CheckedFault {
  seen: number
}

/**
 * A disk that fails as it is told, in front of one that does not: for tests of guests, and of this library. A flush that
 * was made to fail makes all later ones fail, as the error of a real disk does, until the disk is opened anew.
 *
 * @example
 * ```ts
 * const disk = new FaultyDisk(new FileDisk('disk.img'), [{ on: 'write', nth: 100, count: Infinity, error: 'ENOSPC' }])
 * const mend = disk.inject({ on: 'read', delay: Infinity })
 * ```
 */
export class FaultyDisk implements BlockBackend {
  /** Operations begun, and those of them that a fault befell. */
  readonly counters = { operations: 0, faults: 0 }
  readonly #disk: BlockBackend
  readonly #faults: Injected[] = []
  readonly #flushState = { error: 0 }

  /** @throws VmmError `ERR_INVALID_OPTION` */
  constructor(disk: BlockBackend, faults: readonly DiskFault[] = []) {
    if (typeof disk?.attach !== 'function')
      throw invalidOption('disk', disk, 'a disk, such as new FileDisk(path)')
    if (!Array.isArray(faults)) throw invalidOption('faults', faults, 'an array of faults')
    this.#disk = disk
    for (const [i, fault] of faults.entries()) this.#add(fault, `faults[${i}]`)
  }

  get name(): string {
    return this.#disk.name
  }

  get capacity(): number {
    return this.#disk.capacity
  }

  get readOnly(): boolean {
    return this.#disk.readOnly
  }

  get id(): string {
    return this.#disk.id
  }

  get geometry(): BlockGeometry {
    return this.#disk.geometry ?? { logicalBlockSize: 512, physicalBlockSize: 512 }
  }

  get discards(): boolean {
    return this.#disk.discards ?? false
  }

  get writesZeroes(): boolean {
    return this.#disk.writesZeroes ?? false
  }

  /**
   * Adds a fault, after those that there are.
   * @returns what takes it away
   * @throws VmmError `ERR_INVALID_OPTION`
   */
  inject(fault: DiskFault): () => void {
    const injected = this.#add(fault, 'fault')
    return () => {
      const at = this.#faults.indexOf(injected)
      if (at >= 0) this.#faults.splice(at, 1)
    }
  }

  async open(): Promise<void> {
    this.#flushState.error = 0
    await this.#disk.open()
  }

  attach(attachment: BlockAttachment): BlockChannel {
    return new FaultyChannel(this.#disk, attachment, this.#flushState, (operation) =>
      this.#next(operation),
    )
  }

  async close(): Promise<void> {
    await this.#disk.close()
  }

  #add(fault: unknown, option: string): Injected {
    const injected = { ...checkFault(fault, option), seen: 0 }
    this.#faults.push(injected)
    return injected
  }

  /** Every fault counts the operations that are its kind, whether or not another comes first. */
  #next(operation: DiskOperation): CheckedFault | undefined {
    this.counters.operations++
    let found: CheckedFault | undefined
    for (const fault of this.#faults) {
      if (fault.on !== undefined && fault.on !== operation) continue
      fault.seen++
      if (fault.seen >= fault.nth && fault.seen < fault.nth + fault.count) found ??= fault
    }
    if (found) this.counters.faults++
    return found
  }
}
