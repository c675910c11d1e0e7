import { EventEmitter } from 'node:events'
import { asError, VmmError } from '../../errors.js'
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
import { checkPasstOptions, type PasstOptions, type PasstSettings } from './passt-options.js'
import { type PasstExit, PasstProcess } from './passt-process.js'
import { CapturePoint } from './pcap-capture.js'

export type { PasstExit, PasstOptions }

/** Milliseconds before it is started again: twice as many each time, until it has run for the last of them. */
const RESTART_FIRST = 100
const RESTART_LAST = 10_000

/** The events of a {@link Passt}, with their arguments. */
export interface PasstEvents {
  /** passt has died: the guest's link is down. */
  exit: [exit: PasstExit]
  /** It runs again, and the link is up. */
  restart: []
  /** It could not be started again. It is tried later. */
  restartFailed: [error: Error]
}

/**
 * Networking without privileges, by passt: the guest shares the host's addresses, and what it sends leaves the host
 * through ordinary sockets of this user. Started, watched over and ended by us. It ends when this process does.
 * @example `new Passt({ forwards: [{ hostAddress: '127.0.0.1', hostPort: 2222, guestPort: 22 }] })`
 */
export class Passt extends EventEmitter<PasstEvents> implements NetBackend {
  readonly name = 'passt'
  readonly mac: MacAddress
  readonly mtu: number | undefined
  readonly offloads = NO_OFFLOADS
  readonly #settings: PasstSettings
  readonly #capture = new CapturePoint()
  #state: 'closed' | 'opening' | 'open' = 'closed'
  #process: PasstProcess | undefined
  #channel: FrameChannel | undefined
  #restartDelay = RESTART_FIRST
  #restartTimer: NodeJS.Timeout | undefined
  #restarting: Promise<void> | undefined
  #startedAt = 0

  /**
   * Starts nothing: see {@link Passt.open}.
   * @throws VmmError `ERR_INVALID_OPTION`
   */
  constructor(options: PasstOptions = {}) {
    super()
    this.#settings = checkPasstOptions(options)
    this.mac = options.mac === undefined ? randomMac() : checkMac(options.mac)
    this.mtu = this.#settings.mtu
  }

  /** passt's process, while it runs. */
  get pid(): number | undefined {
    return this.#process?.pid
  }

  /** Frames for the guest that were lost. */
  get overruns(): number {
    return this.#channel?.overruns ?? 0
  }

  /**
   * @throws VmmError `ERR_MISSING_PROGRAM` if passt is not installed; the Debian package is named
   * @throws VmmError `ERR_NET` with passt's own words if it does not start: a port is in use, no network
   * @throws VmmError `ERR_STATE` if it is open already
   */
  async open(): Promise<void> {
    if (this.#state !== 'closed') throw new VmmError('ERR_STATE', 'passt is open already')
    this.#state = 'opening'
    try {
      await this.#start()
    } catch (error) {
      this.#state = 'closed'
      throw error
    }
    this.#state = 'open'
  }

  attach(attachment: NetAttachment): NetChannel {
    if (this.#state !== 'open') throw new VmmError('ERR_STATE', 'passt is not open')
    if (this.#channel) throw new VmmError('ERR_STATE', 'passt serves another device already')
    this.#channel = new FrameChannel(attachment, {
      send: (frame) => this.#process?.frames.send(frame),
      drained: () => this.#process?.frames.resume(),
      capture: this.#capture,
    })
    if (!this.#process) this.#channel.linkChanged(false)
    return this.#channel
  }

  capture(target: CaptureTarget, options?: CaptureOptions): Capture {
    if (this.#state !== 'open') throw new VmmError('ERR_STATE', 'passt is not open')
    return this.#capture.start(this.name, target, options)
  }

  async close(): Promise<void> {
    this.#state = 'closed'
    clearTimeout(this.#restartTimer)
    const process = this.#process
    this.#process = undefined
    await process?.stop()
    await this.#restarting
    await this.#capture.close()
    await this.#channel?.close()
    this.#channel = undefined
  }

  async #start(): Promise<void> {
    const { program, args } = this.#settings
    const process = await PasstProcess.start(program, args)
    if (this.#state === 'closed') {
      await process.stop() // closed meanwhile
      return
    }
    this.#process = process
    this.#startedAt = performance.now()
    // Before there is a device frames are lost, as with any card that is not set up.
    process.onFrame = (frame) => this.#channel?.deliver(frame) ?? true
    void process.ended.then((exit) => this.#died(process, exit))
  }

  #died(process: PasstProcess, exit: PasstExit): void {
    if (this.#process !== process) return
    this.#process = undefined
    if (this.#settings.restart) this.#restartLater()
    this.#channel?.linkChanged(false)
    this.emit('exit', exit)
  }

  #restartLater(): void {
    if (performance.now() - this.#startedAt > RESTART_LAST) this.#restartDelay = RESTART_FIRST
    const delay = this.#restartDelay
    this.#restartDelay = Math.min(2 * delay, RESTART_LAST)
    this.#restartTimer = setTimeout(() => {
      this.#restarting = this.#restart()
    }, delay).unref()
  }

  async #restart(): Promise<void> {
    try {
      await this.#start()
    } catch (error) {
      if (this.#state !== 'open') return
      this.#restartLater()
      this.emit('restartFailed', asError(error))
      return
    }
    if (this.#state !== 'open') return
    this.#channel?.linkChanged(true)
    this.emit('restart')
  }
}
