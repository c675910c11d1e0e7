import { existsSync, readFileSync } from 'node:fs'
import { binding, type NativeTap, type NativeVhostNet } from '../../binding.js'
import { invalidOption, KvmError, VmmError } from '../../errors.js'
import { nativeAddressSpace } from '../native-memory.js'
import { checkMac, randomMac } from './mac-address.js'
import {
  type Capture,
  type CaptureOptions,
  type CaptureTarget,
  type MacAddress,
  type NetAttachment,
  type NetBackend,
  type NetChannel,
  type NetOffloads,
  type NetTraffic,
  NO_OFFLOADS,
  type RingServerTerms,
} from './net-backend.js'
import { CapturePoint } from './pcap-capture.js'
import { TapChannel } from './tap-channel.js'
import { checkTapOptions, type TapOptions, type TapSettings } from './tap-options.js'
import { configureTap, configureTrouble, openTrouble } from './tap-setup.js'
import { interfaceTraffic } from './tap-traffic.js'
import { TUN_F_CSUM, TUN_F_TSO_ECN, TUN_F_TSO4, TUN_F_TSO6 } from './tun-abi.js'
import { openVhostNet, VhostNet, vhostFeatures } from './vhost-net.js'

export type { TapOptions }

/** What a process needs to serve an interface that another one has opened. */
export interface HandedTap {
  readonly name: string
  readonly mac: MacAddress
  readonly mtu: number | undefined
  readonly offloads: NetOffloads
  /** Of each queue. */
  readonly fds: readonly number[]
  readonly multiQueue: boolean
}

/** How often an interface that was deleted or set down is looked for. */
const LOOK_MILLISECONDS = 500
/** The MTU of Ethernet: what a guest assumes that is not told. */
const ETH_DATA_LEN = 1500
/** From `<linux/if.h>`, as `/sys/class/net/NAME/flags` has it. */
const IFF_UP = 1
/** From `<linux/if_tun.h>`, as `/sys/class/net/NAME/tun_flags` has it. */
const IFF_MULTI_QUEUE = 0x0100

/**
 * A TAP interface of the host: frames go to the host's network stack, or to the bridge that the interface is in.
 * @example `new Tap('tap0')`, after `ip tuntap add tap0 mode tap user $USER && ip link set tap0 up`
 * @example `new Tap('tap%d', { create: true, address: '10.0.0.1/24' })`, where one may (CAP_NET_ADMIN)
 */
export class Tap implements NetBackend {
  readonly mac: MacAddress
  readonly #settings: TapSettings
  readonly #capture = new CapturePoint()
  #name: string
  #mtu: number | undefined
  #offloads: NetOffloads = NO_OFFLOADS
  #natives: readonly NativeTap[] = []
  #vhosts: readonly NativeVhostNet[] = []
  #ringServer: RingServerTerms | undefined
  #channels: TapChannel[] = []
  #lookTimer: NodeJS.Timeout | undefined
  #servedTimer: NodeJS.Timeout | undefined
  /** Another process has opened the interface; and another one serves it. */
  #inherited: HandedTap | undefined
  #handed = false
  /** What the interface had counted before the guest was there. */
  #trafficBefore: NetTraffic | undefined

  /**
   * Opens nothing: see {@link Tap.open}.
   * @param name the interface's; with `create`, `tap%d` has the kernel choose a number
   * @throws VmmError `ERR_INVALID_OPTION`
   */
  constructor(name: string, options: TapOptions = {}) {
    const { mac } = options
    if (
      typeof name !== 'string' ||
      !/^[^\s/:]{1,15}$/.test(name) ||
      name === '.' ||
      name === '..'
    ) {
      throw invalidOption('name', name, "the name of a TAP interface, such as 'tap0'")
    }
    this.#settings = checkTapOptions(options)
    this.#name = name
    this.#mtu = this.#settings.mtu
    this.mac = mac === undefined ? randomMac() : checkMac(mac)
  }

  /** An interface that another process has opened, by descriptors that this one has of it. */
  static inherited(handed: HandedTap): Tap {
    const { name, mac, fds } = handed
    const tap = new Tap(name, { mac, queues: fds.length })
    tap.#inherited = handed
    return tap
  }

  /** The interface's: once open, the kernel's choice. */
  get name(): string {
    return this.#name
  }

  get offloads(): NetOffloads {
    return this.#offloads
  }

  get queuePairs(): number {
    return this.#settings.queues
  }

  get mtu(): number | undefined {
    return this.#mtu
  }

  get ringServer(): RingServerTerms | undefined {
    return this.#ringServer
  }

  get traffic(): NetTraffic {
    return interfaceTraffic(this.#name, this.#trafficBefore)
  }

  /** Frames for the guest that it had not asked for. */
  get filtered(): number {
    return this.#channels.reduce((sum, channel) => sum + channel.filtered, 0)
  }

  /**
   * @throws VmmError `ERR_NET` if there is no such interface, it is no TAP, is in use, may not be opened, or cannot be
   * configured as told, or if there is no vhost-net for `vhost: true`; the option at fault is named
   * @throws VmmError `ERR_STATE` if it is open already
   */
  async open(): Promise<void> {
    if (this.#natives.length > 0)
      throw new VmmError('ERR_STATE', `TAP ${this.#name} is open already`)
    if (this.#inherited) {
      this.#openInherited(this.#inherited)
      return
    }
    const { create, offloads } = this.#settings
    const made = create && !existsSync(`/sys/class/net/${this.#name}`)
    const natives: NativeTap[] = []
    try {
      this.#openQueues(natives)
      const first = natives[0]!
      try {
        configureTap(first, this.#settings, made)
      } catch (error) {
        throw configureTrouble(first.name, error)
      }
      this.#offloads = offloads ? tapOffloads(first) : NO_OFFLOADS
      this.#mtu = this.#settings.mtu ?? unusualMtu(first.name)
      this.#name = first.name
      this.#openVhost()
      this.#natives = natives
    } catch (error) {
      await closeAll(natives)
      throw error
    }
  }

  attach(attachment: NetAttachment): NetChannel {
    const native = this.#natives[attachment.pair]
    if (!native) throw new VmmError('ERR_STATE', `TAP ${this.#name} is not open`)
    if (this.#channels[attachment.pair] || this.#handed)
      throw new VmmError('ERR_STATE', `TAP ${this.#name} serves another device already`)
    const memory = nativeAddressSpace(attachment.memory)
    if (!memory)
      throw new VmmError('ERR_STATE', `TAP ${this.#name} needs guest memory that a mapping backs`)
    const vhost = this.#vhosts[attachment.pair]
    const channel = new TapChannel(
      native,
      memory,
      attachment,
      { up: () => isUp(this.#name), lost: () => this.#lookLater() },
      vhost && new VhostNet(vhost, native, memory),
    )
    this.#channels[attachment.pair] = channel
    if (vhost) this.#lookAfterServed()
    if (this.#capture.active) this.#captureOn(channel)
    return channel
  }

  /**
   * Lets another process serve the interface in this one's place, until this one closes it.
   * @throws VmmError `ERR_STATE` as {@link attach}; `ERR_NET` if it must be by vhost-net, which is one process's
   */
  handOver(): HandedTap {
    if (this.#natives.length === 0) throw new VmmError('ERR_STATE', `TAP ${this.#name} is not open`)
    if (this.#channels.length > 0 || this.#handed)
      throw new VmmError('ERR_STATE', `TAP ${this.#name} serves another device already`)
    if (this.#ringServer?.required) {
      const expected = "false or 'auto' for a machine in a process of its own"
      const details = { option: 'vhost', value: true, expected }
      throw new VmmError('ERR_NET', `TAP ${this.#name}: vhost: expected ${expected}`, details)
    }
    for (const vhost of this.#vhosts) vhost.close()
    this.#vhosts = []
    this.#ringServer = undefined
    this.#handed = true
    // As they are to whoever has just opened them.
    for (const native of this.#natives.slice(1)) native.enable(true)
    const { name, mac, mtu, offloads } = this
    const fds = this.#natives.map(({ fd }) => fd)
    return { name, mac, mtu, offloads, fds, multiQueue: fds.length > 1 || hasSeveralQueues(name) }
  }

  capture(target: CaptureTarget, options?: CaptureOptions): Capture {
    if (this.#natives.length === 0) throw new VmmError('ERR_STATE', `TAP ${this.#name} is not open`)
    if (this.#handed) {
      const message = `TAP ${this.#name} cannot be captured here: another process moves its frames`
      throw new VmmError('ERR_STATE', message, { expected: `tcpdump -i ${this.#name}` })
    }
    if (this.#vhosts.length > 0) {
      const message = `TAP ${this.#name} cannot be captured: vhost-net moves its frames`
      throw new VmmError('ERR_STATE', message, { option: 'vhost', expected: 'vhost: false' })
    }
    const capture = this.#capture.start(`TAP ${this.#name}`, target, options, () => {
      for (const channel of this.#channels) {
        capture.dropped += channel.captureDropped
        channel.capture(undefined)
      }
    })
    for (const channel of this.#channels) this.#captureOn(channel)
    return capture
  }

  async close(): Promise<void> {
    clearTimeout(this.#lookTimer)
    this.#lookTimer = undefined
    clearInterval(this.#servedTimer)
    this.#servedTimer = undefined
    await this.#capture.close()
    for (const channel of this.#channels) await channel.close()
    this.#channels = []
    for (const vhost of this.#vhosts) vhost.close()
    const natives = this.#natives
    this.#vhosts = []
    this.#ringServer = undefined
    this.#natives = []
    this.#handed = false
    await closeAll(natives)
  }

  #openInherited({ name, mtu, offloads, fds, multiQueue }: HandedTap): void {
    this.#natives = fds.map((fd) => new (binding().Tap)(name, false, multiQueue, fd))
    for (const native of this.#natives.slice(1)) native.enable(false)
    this.#offloads = offloads
    this.#mtu = mtu
  }

  #openVhost(): void {
    const { vhost, queues } = this.#settings
    if (vhost === false) return
    try {
      this.#vhosts = openVhostNet(queues)
    } catch (error) {
      if (vhost === 'auto' && error instanceof VmmError) return
      throw error
    }
    const features = vhostFeatures(this.#vhosts)
    this.#ringServer = { features, required: vhost === true }
  }

  /** Where frames pass by this process nothing tells it that the interface has gone. */
  #lookAfterServed(): void {
    this.#trafficBefore ??= interfaceTraffic(this.#name, undefined)
    if (this.#servedTimer !== undefined) return
    const self = new WeakRef(this)
    const timer = setInterval(() => {
      const tap = self.deref()
      if (tap === undefined) clearInterval(timer)
      else for (const channel of tap.#channels) channel.look()
    }, LOOK_MILLISECONDS).unref()
    this.#servedTimer = timer
  }

  /** The administrator who has deleted the interface may make it again, and set it up. */
  #lookLater(): void {
    this.#lookTimer ??= setTimeout(() => {
      this.#lookTimer = undefined
      if (this.#regain()) for (const channel of this.#channels) channel.regained()
      else this.#lookLater()
    }, LOOK_MILLISECONDS).unref()
  }

  #regain(): boolean {
    try {
      // All of them: queues that are not in use do not tell that they are gone.
      if (this.#channels.some(({ gone }) => gone))
        for (const native of this.#natives) native.reopen()
      return isUp(this.#name)
    } catch (error) {
      if (error instanceof KvmError) return false
      throw error
    }
  }

  #captureOn(channel: TapChannel): void {
    const capture = this.#capture.active
    if (capture) channel.capture((records) => capture.records(records), capture)
  }

  #openQueues(natives: NativeTap[]): void {
    const { create, queues } = this.#settings
    let name = this.#name
    try {
      const several = queues > 1 || hasSeveralQueues(name)
      for (let i = 0; i < queues; i++) {
        const native = new (binding().Tap)(name, create && i === 0, several)
        natives.push(native)
        name = native.name
        if (i > 0) native.enable(false)
      }
    } catch (error) {
      throw openTrouble(name, queues, error)
    }
  }
}

/** The kernel takes tens of milliseconds to take an interface away, in which this thread goes on. */
async function closeAll(natives: readonly NativeTap[]): Promise<void> {
  await Promise.all(natives.map((native) => native.close()))
}

/** An interface for several queues is one also for a program that opens a single one. */
function hasSeveralQueues(name: string): boolean {
  try {
    return (
      (Number(readFileSync(`/sys/class/net/${name}/tun_flags`, 'utf8')) & IFF_MULTI_QUEUE) !== 0
    )
  } catch {
    return false
  }
}

function isUp(name: string): boolean {
  try {
    return (Number(readFileSync(`/sys/class/net/${name}/flags`, 'utf8')) & IFF_UP) !== 0
  } catch {
    return false
  }
}

/** The interface's MTU, if a guest must be told of it. */
function unusualMtu(name: string): number | undefined {
  const mtu = Number(readFileSync(`/sys/class/net/${name}/mtu`, 'utf8'))
  return mtu !== ETH_DATA_LEN && mtu >= 68 && mtu <= 65535 ? mtu : undefined
}

/** The kernel takes offloaded frames from us in any case; what it would give us it tells by accepting the bits. */
function tapOffloads(native: NativeTap): NetOffloads {
  if (!native.setOffload(TUN_F_CSUM)) return NO_OFFLOADS
  const has = (bits: number) => native.setOffload(TUN_F_CSUM | bits)
  const offloads = {
    checksum: true,
    tso4: has(TUN_F_TSO4),
    tso6: has(TUN_F_TSO6),
    tsoEcn: has(TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN),
    ufo: false, // kernels from 4.14 on to 6.x differ in what they make of it, and no guest misses it
  }
  native.setOffload(0)
  return offloads
}
