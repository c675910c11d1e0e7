import { channel } from 'node:diagnostics_channel'

/** An exit that JavaScript answered, after it has. Published on `node-kvm:exit`. */
export interface ExitMessage {
  /** The machine's name, by its option. */
  readonly machine: string
  /** Its index. */
  readonly vcpu: number
  /** KVM_EXIT_*. */
  readonly reason: number
  /** What was asked: `'uart0: read of 1 byte at offset 0x5'`. Empty for what is no access. */
  readonly access: string
  /** When it came, by `performance.now()`. */
  readonly start: number
  /** When it was answered. */
  readonly end: number
}

/** A request to a disk, when it is begun and when it has ended. Published on `node-kvm:request`. */
export interface RequestMessage {
  /** Which of the two this is. */
  readonly phase: 'begin' | 'end'
  /** Which: `'block0'`. */
  readonly device: string
  /** The same at its begin and its end; used again afterwards. */
  readonly tag: number
  /** VIRTIO_BLK_T_*. At its begin alone. */
  readonly type?: number
  /** Bytes from the disk's start. At its begin alone. */
  readonly offset?: number
  /** Bytes of data. At its begin alone. */
  readonly length?: number
  /** VIRTIO_BLK_S_*. At its end alone. */
  readonly status?: number
  /** By `performance.now()`. */
  readonly time: number
}

// Whoever publishes asks first whether anybody listens, so that nothing is spent when nobody does.
/** The diagnostics channel of {@link ExitMessage}. */
export const EXIT_CHANNEL = 'node-kvm:exit'
/** The diagnostics channel of {@link RequestMessage}. */
export const REQUEST_CHANNEL = 'node-kvm:request'
export const exitChannel = channel(EXIT_CHANNEL)
export const requestChannel = channel(REQUEST_CHANNEL)
