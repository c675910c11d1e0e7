import { VmmError } from '../../errors.js'
import type { BlockAttachment, BlockBackend, BlockChannel } from './block-backend.js'

/** What the backends of this folder have in common: open, then attached to one device, then closed. */
export abstract class OpenBackend implements BlockBackend {
  abstract readonly name: string
  abstract readonly capacity: number
  abstract readonly readOnly: boolean
  abstract readonly id: string
  #open = false
  #channel: BlockChannel | undefined
  #attachment: BlockAttachment | undefined

  /** What moves the data, once a device is attached. */
  get engine(): string | undefined {
    return this.#channel?.engine
  }

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
    if (this.#channel) throw new VmmError('ERR_STATE', `${this.name} serves another device already`)
    this.#channel = this.newChannel(attachment)
    this.#attachment = attachment
    return this.#channel
  }

  async close(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    const channel = this.#channel
    await channel?.close()
    this.#channel = undefined
    this.#attachment = undefined
    const closed = this.closeStore()
    // A file with I/O in progress closes when that ends.
    if (channel?.abandoned) closed.catch(() => {})
    else await closed
  }

  /** Tells the device that the capacity has changed. */
  protected resized(): void {
    this.#attachment?.resized()
  }

  /** Takes what the disk is kept in; if it throws, nothing may be left open. */
  protected abstract openStore(): Promise<void>
  protected abstract newChannel(attachment: BlockAttachment): BlockChannel
  protected abstract closeStore(): Promise<void>
}
