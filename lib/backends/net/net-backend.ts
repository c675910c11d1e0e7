import type { Writable } from 'node:stream'
import type { GuestMemory } from '../../memory/guest-memory.js'
import type { SignalEvent } from '../../util/signal-event.js'

/**
 * What a network card is plugged into. Knows nothing of the device in front of it.
 *
 * Frames are Ethernet frames behind a virtio-net header of 12 bytes (virtio 1.2, 5.1.6), named by the guest memory
 * that they lie in, so that a frame need not be copied on its way.
 */
export interface NetBackend {
  /** For errors and logs: the interface's name or the like. */
  readonly name: string
  /** The guest's MAC address. */
  readonly mac: MacAddress
  /** What may be left undone in frames. Known once open. */
  readonly offloads: NetOffloads
  /** The greatest IP packet, in bytes, if the backend knows of a limit. Known once open. */
  readonly mtu?: number | undefined
  /** Queue pairs that it can serve, 1 unless told. Known once open. */
  readonly queuePairs?: number
  /** What is known of its channels' {@link NetChannel.rings}. Absent: they have none. Known once open. */
  readonly ringServer?: RingServerTerms | undefined
  /** What the host's interface has counted, for a device that frames do not pass through. */
  readonly traffic?: NetTraffic
  /** Takes what the backend needs. @throws VmmError `ERR_NET` naming the option, the value and what was expected */
  open(): Promise<void>
  /**
   * Starts to serve one device; called once for each of its queue pairs, in order.
   * @throws VmmError `ERR_STATE` if the backend is not open or serves another one
   */
  attach(attachment: NetAttachment): NetChannel
  /**
   * Writes the frames of both directions to a pcap file, which Wireshark and tcpdump open, until it is stopped or the
   * backend is closed. Absent: this backend cannot.
   * @param target the file's path, or a stream, which is left open at the end
   * @throws VmmError `ERR_INVALID_OPTION`, or `ERR_NET` if the file cannot be written
   * @throws VmmError `ERR_STATE` if a capture is running, or the backend is not open
   */
  capture?(target: CaptureTarget, options?: CaptureOptions): Capture
  /** Ends everything. May be called again. */
  close(): Promise<void>
}

/** Where a capture goes: the path of a file, which is overwritten, or of a FIFO; or a stream. */
export type CaptureTarget = string | Writable

/** How frames are captured. */
export interface CaptureOptions {
  /** Bytes kept of each frame, 1 to 262144, which is the default and more than any frame has. */
  snapLength?: number
  /** Bytes that may wait for the target, 64 KiB to 1 GiB: 4 MiB unless told. What does not fit is dropped, and counted. */
  bufferSize?: number
}

/** A capture that is running, or has ended. */
export interface Capture {
  /** Frames handed to the target. */
  readonly frames: number
  /** Frames that it did not take fast enough. */
  readonly dropped: number
  /** Why it ended by itself. */
  readonly error: Error | undefined
  /** Ends it; resolves when the target has everything. May be called again. */
  stop(): Promise<void>
}

/** Six bytes as `'52:54:00:12:34:56'`, lower case. */
export type MacAddress = string

/** Work on frames that one side may leave to the other. */
export interface NetOffloads {
  /** The transport checksum need not be filled in. Without it the others mean nothing. */
  readonly checksum: boolean
  /** TCP over IPv4 may come in segments of up to 64 KiB. */
  readonly tso4: boolean
  /** The same over IPv6. */
  readonly tso6: boolean
  /** Such segments may have ECN's bits. */
  readonly tsoEcn: boolean
  /** UDP may come in segments of up to 64 KiB. */
  readonly ufo: boolean
}

/** Nothing may be left undone in frames. */
export const NO_OFFLOADS: NetOffloads = {
  checksum: false,
  tso4: false,
  tso6: false,
  tsoEcn: false,
  ufo: false,
}

/** What driver and device have agreed on. */
export interface NetAgreement {
  /** What the guest may leave undone in frames that it sends. */
  readonly transmit: NetOffloads
  /** What may be left undone in frames for the guest. */
  readonly receive: NetOffloads
  /** A received frame may fill several buffers; the header in the first tells how many. */
  readonly mergeable: boolean
  /** Frames for the guest that are longer, their Ethernet header apart, and no segments to be cut are dropped. */
  readonly mtu?: number | undefined
}

/** A MAC address as a number of 48 bits, the first byte on top. */
export type MacNumber = number

/**
 * The frames that the driver has asked for (virtio 1.3, 5.1.6.5.1 to 5.1.6.5.3). It is a hint: what is dropped here
 * costs the guest nothing.
 */
export interface ReceiveFilter {
  /** Frames to ff:ff:ff:ff:ff:ff. */
  readonly broadcast: boolean
  /** Destinations. */
  readonly unicast: ReadonlySet<MacNumber> | 'all'
  /** Destinations that are groups. */
  readonly multicast: ReadonlySet<MacNumber> | 'all'
  /** VLAN identifiers of frames with a tag of IEEE 802.1Q: 512 bytes, bit n % 8 of byte n / 8 for VLAN n. */
  readonly vlans: Uint8Array | 'all'
}

/** The device's end of a channel. */
export interface NetAttachment {
  /** The guest's. */
  readonly memory: GuestMemory
  /** Which queue pair of the device this is, from 0 on. */
  readonly pair: number
  /** Frames and buffers are told apart by tags from 0 to one less than this; at most one of each is in flight. */
  readonly tags: number
  /** The most segments that one frame or buffer has. */
  readonly segments: number
  /** A frame is done with. `error`: 0, or the positive errno for which it was dropped. */
  transmitted(tag: number, error: number): void
  /**
   * A buffer holds `length` bytes, header included, and is the device's again; the frame goes on in the next ones, if
   * its header says so. 0: the buffer could hold no frame, and nothing was written to it.
   */
  received(tag: number, length: number): void
  /** Frames are there: the device may post more buffers before they are taken. From the event loop. */
  readable(): void
  /** After the last call of a batch. */
  completed(): void
  /** The backend has lost what it is connected to, or has it again. Up unless told. */
  linkChanged(up: boolean): void
  /** The backend itself failed. */
  failed(error: Error): void
}

/** What a device must know of a {@link RingServer} before it offers the driver anything. */
export interface RingServerTerms {
  /** Of virtio's features those of the rings, and VIRTIO_NET_F_MRG_RXBUF, that it knows. */
  readonly features: bigint
  /** The rings are to be served by it or not at all. */
  readonly required: boolean
}

/** Frames and bytes of the guest's, as the host's interface counts them. */
export interface NetTraffic {
  /** From the guest. */
  readonly txFrames: number
  /** From the guest, and not taken. */
  readonly txDropped: number
  /** For the guest. */
  readonly rxFrames: number
  /** Of the frames for the guest. */
  readonly rxBytes: number
  /** For the guest, which had no room for them. */
  readonly rxDropped: number
}

/** One split ring of the driver's, for whoever serves it: guest addresses, and how the two sides tell each other. */
export interface ServedRing {
  /** Entries. */
  readonly size: number
  /** Guest-physical address of the descriptors. */
  readonly descriptorArea: number
  /** Guest-physical address of the available ring. */
  readonly driverArea: number
  /** Guest-physical address of the used ring. */
  readonly deviceArea: number
  /** The driver raises it by itself. Absent: {@link RingServer.kick} is called. */
  readonly kick: SignalEvent | undefined
  /** To be raised for the driver. Absent: `called` is to be called. May change: {@link RingServer.redirect}. */
  readonly call: SignalEvent | undefined
  /** Interrupts the driver, where there is no `call`. */
  called(): void
  /** The ring cannot be served any more. */
  broken(reason: string): void
}

/** Serves the driver's rings of one queue pair, 0 to receive and 1 to transmit, without this process: vhost-net. */
export interface RingServer {
  /** The features in force; before the first ring. */
  agree(features: bigint): void
  /** Serves a ring from position `next` of its available ring on. @throws KvmError */
  start(index: 0 | 1, ring: ServedRing, next: number): void
  /** Serves it no more; from its return on nothing touches guest memory for it. @returns the position to go on from */
  stop(index: 0 | 1): number
  /** The ring's `call` has changed. */
  redirect(index: 0 | 1): void
  /** The driver has made buffers available, where there is no {@link ServedRing.kick}. */
  kick(index: 0 | 1): void
}

/** Frames out, and buffers for frames in. */
export interface NetChannel {
  /** What was negotiated; before the first frame. */
  agree(agreement: NetAgreement): void
  /** Begins a frame for the network; its segments follow. */
  frame(tag: number): void
  /** Begins a buffer for a frame from the network; its segments follow. */
  buffer(tag: number): void
  /** Adds guest memory to the frame that is being put together. */
  segment(address: number, length: number): void
  /** Sends the frames begun, or drops them: `transmitted` has been called for each when this returns. */
  transmit(): void
  /** Takes what has come from the network already, if it is worth to look: after frames were sent, answers may be there. */
  poll?(): void
  /** Makes the buffers begun ready to be filled, in order. */
  post(): void
  /** Stops taking frames from the network, or goes on. Buffers stay posted. */
  hold(on: boolean): void
  /** What the guest wants to receive; everything unless told, and after `reset`. Absent: everything. */
  filter?(filter: ReceiveFilter | undefined): void
  /** The link was set up or down: while it is down, frames for the guest are lost. Absent: they wait. */
  link?(up: boolean): void
  /**
   * Whether the driver uses this queue pair: only then may frames for the guest be steered to it. The first one is in
   * use from the start, the others from `enable(true)` to `enable(false)`. Required of backends with several.
   * @returns `false` if the backend cannot, and leaves it as it was
   */
  enable?(on: boolean): boolean
  /** Buffers posted and not yet given back. */
  readonly posted: number
  /** A mergeable frame waits for more buffers than are posted, and the others behind it. Absent: never. */
  readonly starved?: boolean
  /** No more buffers will come: drops the frame that waits. */
  giveUp?(): void
  /** Frames dropped for want of room in the buffers. */
  readonly overruns: number
  /** Serves the rings in the device's place, which then neither begins frames nor posts buffers. */
  readonly rings?: RingServer | undefined
  /** Forgets all buffers; nothing writes to them from here on. */
  reset(): void
  /** Ends it: nothing touches guest memory afterwards. */
  close(): Promise<void>
}
