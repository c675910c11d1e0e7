import { EventEmitter } from 'node:events'
import { VmmError } from '../../errors.js'
import { throwLater } from '../../util/throw-later.js'
import { FrameChannel } from './frame-channel.js'
import { checkMac, randomMac } from './mac-address.js'
import {
  type Capture,
  type CaptureOptions,
  type CaptureTarget,
  type MacAddress,
  type NetAttachment,
  type NetBackend,
  type NetChannel,
  NO_OFFLOADS,
} from './net-backend.js'
import { CapturePoint } from './pcap-capture.js'

/** MAC addresses that a switch remembers; the oldest makes room for a new one. */
const TABLE_MAX = 1024

/** What a port of a {@link VirtualSwitch} takes. */
export interface SwitchPortOptions {
  /** The guest's MAC address: a random one, locally administered, unless told. */
  mac?: MacAddress
  /** For errors and logs. */
  name?: string
}

/** The events of a {@link VirtualSwitch}, with their arguments. */
export interface VirtualSwitchEvents {
  /** A frame has come in: from a port, or `undefined` if it was injected. The bytes are shared: copy them to change them. */
  frame: [frame: Uint8Array, from: SwitchPort | undefined]
}

/**
 * An Ethernet switch in this process: connects virtual machines with each other, and with a program that listens to
 * `frame` and calls `inject`. Learns addresses as a hardware switch does. Needs no privileges.
 *
 * @example
 * ```ts
 * const network = new VirtualSwitch()
 * const [a, b] = [network.port(), network.port()]   // nets: [a] in one machine, nets: [b] in another
 * ```
 */
export class VirtualSwitch extends EventEmitter<VirtualSwitchEvents> {
  readonly #ports = new Set<SwitchPort>()
  readonly #table = new Map<string, SwitchPort>()

  /** A place to plug one network card in. It stays in the switch while it is open. */
  port(options: SwitchPortOptions = {}): SwitchPort {
    return new SwitchPort(options, {
      opened: (port) => this.#ports.add(port),
      closed: (port) => this.#forget(port),
      frame: (frame, port) => this.#forward(frame, port),
    })
  }

  /** Sends a frame into the network, as from a port of its own. Shorter than an Ethernet header: ignored. */
  inject(frame: Uint8Array): void {
    this.#forward(frame, undefined)
  }

  #forward(frame: Uint8Array, from: SwitchPort | undefined): void {
    if (frame.length < 14) return
    if (from && (frame[6]! & 1) === 0) this.#learn(address(frame, 6), from)
    this.#tell(frame, from)
    const to = (frame[0]! & 1) === 0 ? this.#table.get(address(frame, 0)) : undefined
    if (to) {
      if (to !== from) to.deliver(frame)
      return
    }
    for (const port of this.#ports) if (port !== from) port.deliver(frame)
  }

  /** What a listener throws is the program's own, and no fault of the device that has sent the frame. */
  #tell(frame: Uint8Array, from: SwitchPort | undefined): void {
    try {
      this.emit('frame', frame, from)
    } catch (error) {
      throwLater(error)
    }
  }

  #learn(mac: string, port: SwitchPort): void {
    this.#table.delete(mac)
    this.#table.set(mac, port)
    if (this.#table.size > TABLE_MAX) {
      const [oldest] = this.#table.keys()
      if (oldest !== undefined) this.#table.delete(oldest)
    }
  }

  #forget(port: SwitchPort): void {
    this.#ports.delete(port)
    for (const [mac, holder] of this.#table) if (holder === port) this.#table.delete(mac)
  }
}

interface PortEvents {
  opened(port: SwitchPort): void
  closed(port: SwitchPort): void
  frame(frame: Uint8Array, port: SwitchPort): void
}

/** One port of a {@link VirtualSwitch}: a network backend. */
export class SwitchPort implements NetBackend {
  readonly name: string
  readonly mac: MacAddress
  readonly offloads = NO_OFFLOADS
  readonly #events: PortEvents
  readonly #capture = new CapturePoint()
  #open = false
  #channel: FrameChannel | undefined

  /** Made by {@link VirtualSwitch.port}. @throws VmmError `ERR_INVALID_OPTION` */
  constructor(options: SwitchPortOptions, events: PortEvents) {
    this.mac = options.mac === undefined ? randomMac() : checkMac(options.mac)
    this.name = options.name ?? `switch port ${this.mac}`
    this.#events = events
  }

  /** Frames for the guest that were lost. */
  get overruns(): number {
    return this.#channel?.overruns ?? 0
  }

  async open(): Promise<void> {
    if (this.#open) throw new VmmError('ERR_STATE', `${this.name} is open already`)
    this.#open = true
    this.#events.opened(this)
  }

  attach(attachment: NetAttachment): NetChannel {
    if (!this.#open) throw new VmmError('ERR_STATE', `${this.name} is not open`)
    if (this.#channel) throw new VmmError('ERR_STATE', `${this.name} serves another device already`)
    this.#channel = new FrameChannel(attachment, {
      send: (frame) => this.#events.frame(frame, this),
      capture: this.#capture,
    })
    return this.#channel
  }

  capture(target: CaptureTarget, options?: CaptureOptions): Capture {
    if (!this.#open) throw new VmmError('ERR_STATE', `${this.name} is not open`)
    return this.#capture.start(this.name, target, options)
  }

  /** A frame for the machine at this port, dropped if it takes none. */
  deliver(frame: Uint8Array): void {
    this.#channel?.deliver(frame)
  }

  async close(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    this.#events.closed(this)
    await this.#capture.close()
    await this.#channel?.close()
    this.#channel = undefined
  }
}

function address(frame: Uint8Array, at: number): string {
  let text = ''
  for (let i = at; i < at + 6; i++) text += String.fromCharCode(frame[i]!)
  return text
}
