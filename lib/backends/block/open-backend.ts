import { VmmError } from '../../errors.js'
import type { BlockAttachment, BlockBackend, BlockChannel } from './block-backend.js'
import type { HandedDisk } from './inherited-disk.js'

/** What the backends of this folder have in common: open, then attached to one device, then closed. */
export abstract class OpenBackend implements BlockBackend {
  abstract readonly name: string
  abstract readonly capacity: number
  abstract readonly readOnly: boolean
  abstract readonly id: string
  #open = false
  #channel: BlockChannel | undefined
  #attachment: BlockAttachment | undefined
  /** Another process serves the disk, and is told so of a new capacity. */
  #handedTo: ((capacity: number) => void) | undefined

  /** What moves the data, once a device is attached. */
  get engine(): string | undefined {
    return this.#channel?.engine
  }

  /** Whether {@link open} was called, and {@link close} was not since. */
  get isOpen(): boolean {
    return this.#open
  }

  async open(): Promise<void> {
    if (this.#open) throw new VmmError('ERR_STATE', `${this.name} is open already`)
    this.#open = true
    try {
      await this.openStore()
    } catch (error) {
      this.#open = false
      throw error
    }
  }

  attach(attachment: BlockAttachment): BlockChannel {
    if (!this.#open) throw new VmmError('ERR_STATE', `${this.name} is not open`)
    this.#requireFree()
    this.#channel = this.newChannel(attachment)
    this.#attachment = attachment
    return this.#channel
  }

  /**
   * Lets another process serve the disk in this one's place, with what it is kept in, until this one closes it.
   * @returns `undefined` if it is kept in nothing that could be handed over
   * @throws VmmError `ERR_STATE` as {@link attach}
   */
  handOver(resized: (capacity: number) => void): HandedDisk | undefined {
    if (!this.#open) throw new VmmError('ERR_STATE', `${this.name} is not open`)
    this.#requireFree()
    const handed = this.handedStore()
    if (handed) this.#handedTo = resized
    return handed
  }

  async close(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    const channel = this.#channel
    await channel?.close()
    this.#channel = undefined
    this.#attachment = undefined
    this.#handedTo = undefined
    const closed = this.closeStore()
    // A file with I/O in progress closes when that ends.
    if (channel?.abandoned) closed.catch(() => {})
    else await closed
  }

  /** Tells the device that the capacity has changed. */
  protected resized(): void {
    this.#attachment?.resized()
    this.#handedTo?.(this.capacity)
  }

  /** What the disk is kept in, if that is files. */
  protected handedStore(): HandedDisk | undefined {
    return undefined
  }

  #requireFree(): void {
    if (this.#channel || this.#handedTo)
      throw new VmmError('ERR_STATE', `${this.name} serves another device already`)
  }

  /** Takes what the disk is kept in; if it throws, nothing may be left open. */
  protected abstract openStore(): Promise<void>
  protected abstract newChannel(attachment: BlockAttachment): BlockChannel
  protected abstract closeStore(): Promise<void>
}
