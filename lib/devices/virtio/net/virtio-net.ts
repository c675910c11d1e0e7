import type {
  Capture,
  CaptureOptions,
  CaptureTarget,
  NetBackend,
  RingServerTerms,
} from '../../../backends/net/net-backend.js'
import { invalidOption, VmmError } from '../../../errors.js'
import type { GuestMemory } from '../../../memory/guest-memory.js'
import { type FeatureBits, hasFeature, VIRTIO_ID_NET } from '../abi.js'
import { checkCount, checkQueueSize } from '../queue/queue-size.js'
import { drainQueue, type QueueService, type Virtqueue } from '../queue/virtqueue.js'
import { type RateLimit, RateLimiter, setRateLimits } from '../rate-limiter.js'
import type { DeviceContext, VirtioDevice } from '../virtio-device.js'
import {
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_GUEST_ANNOUNCE,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_F_STATUS,
} from './abi.js'
import { ControlEffects } from './control-effects.js'
import { ControlQueue } from './control-queue.js'
import { NetConfig, netFeatures } from './net-config.js'
import { QueuePairs } from './queue-pairs.js'

/** What {@link VirtioNet} takes. */
export interface VirtioNetOptions {
  /** For logs and errors: `'net'` unless told. */
  name?: string
  /** Entries of each queue, a power of two from 4 to 1024: 256 unless told. */
  queueSize?: number
  /** The greatest IP packet in bytes, 68 to 65535: what the backend says, if anything, unless told. */
  mtu?: number
  /** For frames that the guest sends: no limit unless told. */
  transmitLimit?: RateLimit
  /** For frames to the guest: no limit unless told. What is over it waits in the backend, or is lost there. */
  receiveLimit?: RateLimit
  /** Whether the link is up from the start: `true` unless told. */
  link?: boolean
  /** Told of each change of {@link VirtioNet.link}, by whatever caused it. */
  onLink?: (up: boolean) => void
  /** Told when the backend has lost what it is connected to, and when it has it again. */
  onBackendLink?: (up: boolean) => void
}

/** Limits to be set while a device runs: what is left out stays as it is, `null` is no limit. */
export interface NetLimitChange {
  /** Of frames from the guest; `null` takes the limit away. */
  transmitLimit?: RateLimit | null
  /** Of frames for the guest; `null` takes the limit away. */
  receiveLimit?: RateLimit | null
}

/** What a network device has done. */
export interface VirtioNetCounters {
  /** Frames from the guest. */
  txFrames: number
  /** Chains that were no frames, frames that the backend refused, and those sent while the link was down. */
  txDropped: number
  /** Buffers that these took. */
  rxBuffers: number
  /** Bytes of the frames for the guest. */
  rxBytes: number
  /** Buffers that could hold no frame. */
  rxDropped: number
  /** Commands on the control queue, and those of them that were refused or dropped. */
  controlCommands: number
  /** Commands of the driver's that were refused. */
  controlErrors: number
}

/** A virtio network device (virtio 1.3, section 5.1) in front of a {@link NetBackend} that is open. */
export class VirtioNet implements VirtioDevice {
  readonly name: string
  readonly inOrder = true
  readonly deviceId = VIRTIO_ID_NET
  readonly features: FeatureBits
  readonly queueSizes: readonly number[]
  readonly config: Uint8Array
  readonly ringFeatures: FeatureBits | undefined
  readonly #counters: VirtioNetCounters = {
    txFrames: 0,
    txDropped: 0,
    rxBuffers: 0,
    rxBytes: 0,
    rxDropped: 0,
    controlCommands: 0,
    controlErrors: 0,
  }

  readonly #backend: NetBackend
  readonly #mtu: number | undefined
  readonly #transmitLimiter: RateLimiter
  readonly #receiveLimiter: RateLimiter
  readonly #onLink: ((up: boolean) => void) | undefined
  readonly #onBackendLink: ((up: boolean) => void) | undefined
  /** Whether the backend serves the rings. */
  readonly #served: boolean
  readonly #configuration: NetConfig
  readonly #pairs: QueuePairs
  /** From DRIVER_OK to the reset. */
  #active: { readonly context: DeviceContext; readonly effects: ControlEffects } | undefined
  #control: { readonly queue: Virtqueue; readonly service: QueueService } | undefined
  #linkWanted: boolean
  #backendLink = true

  /** @throws VmmError `ERR_INVALID_OPTION` */
  constructor(backend: NetBackend, options: VirtioNetOptions = {}) {
    const { name = 'net', link = true, mtu = backend.mtu } = options
    const queueSize = checkQueueSize('queueSize', options.queueSize ?? 256)
    if (typeof link !== 'boolean') throw invalidOption('link', link, 'true or false')
    this.name = name
    this.#backend = backend
    this.#mtu = mtu === undefined ? undefined : checkMtu(mtu)
    const queuePairs = checkCount('queuePairs', backend.queuePairs ?? 1, 64)
    this.#transmitLimiter = new RateLimiter('transmitLimit', options.transmitLimit)
    this.#receiveLimiter = new RateLimiter('receiveLimit', options.receiveLimit)
    this.#linkWanted = link
    this.#onLink = options.onLink
    this.#onBackendLink = options.onBackendLink
    this.queueSizes = Array(2 * queuePairs + 1).fill(queueSize)
    const server = usableServer(backend.ringServer, options)
    this.#served = server !== undefined
    this.ringFeatures = server?.features
    const traits = { backend, queuePairs, mtu: this.#mtu }
    this.features = netFeatures(traits, server?.features)
    this.#configuration = new NetConfig(traits, link)
    this.config = this.#configuration.bytes
    this.#pairs = new QueuePairs({
      backend,
      count: queuePairs,
      queueSize,
      served: this.#served,
      owner: {
        counters: this.#counters,
        transmitLimiter: this.#transmitLimiter,
        receiveLimiter: this.#receiveLimiter,
        linked: () => this.link,
        linkChanged: (up) => this.#backendLinkChanged(up),
      },
    })
  }

  /** Where the host's kernel moves the frames, those are its interface's, and `rxBuffers` are frames. */
  get counters(): Readonly<VirtioNetCounters> {
    const traffic = this.#served ? this.#backend.traffic : undefined
    if (traffic === undefined) return this.#counters
    const { rxFrames, ...others } = traffic
    return { ...this.#counters, ...others, rxBuffers: rxFrames }
  }

  /** Whether the host's kernel moves the frames: vhost-net. */
  get vhost(): boolean {
    return this.#served
  }

  /** Whether frames go either way: the link is wanted up, and the backend has one. */
  get link(): boolean {
    return this.#linkWanted && this.#backendLink
  }

  /** The address that the driver has set, or the backend's: `'52:54:00:12:34:56'`. */
  get mac(): string {
    return this.#configuration.mac
  }

  /** Queue pairs that the driver uses, from 1 to those of the backend. */
  get queuePairs(): number {
    return this.#pairs.inUse
  }

  /**
   * Pulls the cable, or plugs it in. While the link is down frames are dropped both ways. Lasts through resets.
   * @throws VmmError `ERR_INVALID_OPTION`
   */
  setLink(up: boolean): void {
    if (typeof up !== 'boolean') throw invalidOption('up', up, 'true or false')
    this.#changeLink(() => {
      this.#linkWanted = up
    })
  }

  /**
   * Changes the limits that {@link VirtioNetOptions} has set, at once.
   * @throws VmmError `ERR_INVALID_OPTION`, also for a limit where vhost-net moves the frames, and nothing has changed
   * @example `vm.nets[0].setLimits({ receiveLimit: { bytes: { perSecond: 1e6 } }, transmitLimit: null })`
   */
  setLimits(limits: NetLimitChange): void {
    if (this.#served) refuseLimits(limits)
    const limiters = { transmitLimit: this.#transmitLimiter, receiveLimit: this.#receiveLimiter }
    setRateLimits(limiters, limits)
  }

  /** Whether the driver can be asked to {@link announce}. */
  get announces(): boolean {
    return this.#negotiated(VIRTIO_NET_F_GUEST_ANNOUNCE)
  }

  /**
   * Asks the guest to tell the network where it is (gratuitous ARP and its like): after it has been moved.
   * @returns `false` if its driver cannot (VIRTIO_NET_F_GUEST_ANNOUNCE was not negotiated)
   */
  announce(): boolean {
    if (!this.announces) return false
    this.#configuration.setAnnounce(true)
    this.#active?.context.configChanged()
    return true
  }

  /**
   * Captures the frames of both directions: see {@link NetBackend.capture}.
   * @throws VmmError `ERR_STATE` also if the backend cannot
   */
  capture(target: CaptureTarget, options?: CaptureOptions): Capture {
    const backend = this.#backend
    if (!backend.capture) throw new VmmError('ERR_STATE', `${backend.name} cannot be captured`)
    return backend.capture(target, options)
  }

  attach(memory: GuestMemory): void {
    this.#pairs.attach(memory)
  }

  activate(context: DeviceContext): void {
    const { features, queues } = context
    const effects = new ControlEffects(features, this.#configuration, this.#pairs, this.#mtu)
    this.#active = { context, effects }
    this.#control = undefined
    for (const index of queues.keys()) this.activateQueue(index)
  }

  activateQueue(index: number): void {
    if (this.#active === undefined) return
    const { context, effects } = this.#active
    const { features, queues } = context
    // 5.1.2: the control queue comes after all pairs if several were negotiated, after the first one if not.
    const pairs = hasFeature(features, VIRTIO_NET_F_MQ) ? this.#pairs.count : 1
    if (index < 2 * pairs) {
      this.#pairs.activate(index, context)
      return
    }
    const negotiated = index === 2 * pairs && hasFeature(features, VIRTIO_NET_F_CTRL_VQ)
    const queue = negotiated ? queues[index] : undefined
    if (queue === undefined) return
    const control = new ControlQueue(features, effects)
    this.#control = { queue, service: this.#controlService(queue, control) }
  }

  resetQueue(index: number): void {
    if (this.#control?.queue.index === index) this.#control = undefined
    else this.#pairs.resetQueue(index)
  }

  notify(queueIndex: number): boolean {
    const control = this.#control
    if (control?.queue.index === queueIndex) return drainQueue(control.queue, control.service)
    return this.#pairs.notify(queueIndex)
  }

  pause(): void {
    this.#pairs.setPaused(true)
  }

  resume(): void {
    this.#pairs.setPaused(false)
  }

  reset(): void {
    this.#active = undefined
    this.#control = undefined
    this.#transmitLimiter.cancel()
    this.#receiveLimiter.cancel()
    this.#pairs.reset()
    this.#configuration.setAnnounce(false)
    this.#configuration.resetMac()
  }

  async close(): Promise<void> {
    await this.#pairs.close()
  }

  #controlService(queue: Virtqueue, control: ControlQueue): QueueService {
    const counters = this.#counters
    return {
      handle: (chain) => {
        counters.controlCommands++
        const done = control.handle(chain)
        if (!done.ok) counters.controlErrors++
        queue.push(chain.id, done.written)
      },
      submit: () => {},
    }
  }

  #negotiated(feature: number): boolean {
    return this.#active !== undefined && hasFeature(this.#active.context.features, feature)
  }

  #backendLinkChanged(up: boolean): void {
    if (up === this.#backendLink) return
    this.#changeLink(() => {
      this.#backendLink = up
    })
    this.#onBackendLink?.(up)
  }

  #changeLink(change: () => void): void {
    const before = this.link
    change()
    const up = this.link
    if (up === before) return
    this.#configuration.setLink(up)
    this.#pairs.setLink(up)
    if (this.#negotiated(VIRTIO_NET_F_STATUS)) this.#active?.context.configChanged()
    this.#onLink?.(up)
  }
}

/** 5.1.4.1: from 68 to 65535. */
function checkMtu(mtu: unknown): number {
  if (typeof mtu === 'number' && Number.isInteger(mtu) && mtu >= 68 && mtu <= 65535) return mtu
  throw invalidOption('mtu', mtu, 'a whole number from 68 to 65535')
}

/**
 * Who serves the rings, if anybody. Limits are for frames that pass through this process.
 * @throws VmmError `ERR_INVALID_OPTION`
 */
function usableServer(
  server: RingServerTerms | undefined,
  limits: NetLimitChange,
): RingServerTerms | undefined {
  if (server?.required) refuseLimits(limits)
  return limits.transmitLimit || limits.receiveLimit ? undefined : server
}

function refuseLimits(limits: NetLimitChange): void {
  for (const option of ['transmitLimit', 'receiveLimit'] as const) {
    const limit = limits[option]
    if (limit) throw invalidOption(option, limit, 'none where vhost-net moves the frames')
  }
}
