import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { writeFile } from 'node:fs/promises'
import { invalidOption } from '../errors.js'
import { exitReasonName } from '../kvm/exit-names.js'
import {
  EXIT_CHANNEL,
  type ExitMessage,
  REQUEST_CHANNEL,
  type RequestMessage,
} from '../util/diagnostics.js'

/** An event of the Trace Event Format. */
type TraceEvent = Readonly<Record<string, unknown>>

/** What {@link Trace} takes. */
export interface TraceOptions {
  /** Events kept: 1 to 10,000,000; what comes after them is counted only. 1,000,000 unless told. */
  limit?: number
}

const LIMIT_MAX = 10_000_000
/** Requests are shown below the vCPUs. */
const DISK_THREAD = 10_000

/**
 * Records what machines of this process do, for Perfetto (ui.perfetto.dev) and chrome://tracing: exits that JavaScript
 * answers, by vCPU, and disk requests from begin to end.
 *
 * @example
 * ```ts
 * import { Trace } from 'node-kvm'
 *
 * const trace = new Trace()
 * // … run a guest …
 * await trace.write('guest.trace.json')
 * trace.close()
 * ```
 */
export class Trace implements Disposable {
  readonly #limit: number
  readonly #events: TraceEvent[] = []
  readonly #machines: string[] = []
  #dropped = 0

  /** @throws VmmError `ERR_INVALID_OPTION` */
  constructor({ limit = 1_000_000 }: TraceOptions = {}) {
    if (!Number.isInteger(limit) || limit < 1 || limit > LIMIT_MAX) {
      throw invalidOption('limit', limit, `a whole number from 1 to ${LIMIT_MAX}`)
    }
    this.#limit = limit
    subscribe(EXIT_CHANNEL, this.#onExit)
    subscribe(REQUEST_CHANNEL, this.#onRequest)
  }

  /** Events that came after the limit. */
  get dropped(): number {
    return this.#dropped
  }

  /** What has been recorded so far, as an object of the Trace Event Format. */
  toJSON(): { traceEvents: readonly TraceEvent[]; displayTimeUnit: 'ns' } {
    const names = this.#machines.map((name, index) => {
      return { ph: 'M', name: 'process_name', pid: index + 1, args: { name } }
    })
    return { traceEvents: [...names, ...this.#events], displayTimeUnit: 'ns' }
  }

  /** Writes what has been recorded to a file, which ui.perfetto.dev opens. */
  async write(path: string): Promise<void> {
    await writeFile(path, JSON.stringify(this))
  }

  /** Records no more. */
  close(): void {
    unsubscribe(EXIT_CHANNEL, this.#onExit)
    unsubscribe(REQUEST_CHANNEL, this.#onRequest)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  readonly #onExit = (message: unknown): void => {
    const { machine, vcpu, reason, access, start, end } = message as ExitMessage
    this.#add({
      ph: 'X',
      cat: 'exit',
      name: access || exitReasonName(reason),
      pid: this.#idOf(machine),
      tid: vcpu + 1,
      ts: start * 1000,
      dur: (end - start) * 1000,
      args: { reason: exitReasonName(reason) },
    })
  }

  readonly #onRequest = (message: unknown): void => {
    const { phase, device, tag, time, ...args } = message as RequestMessage
    this.#add({
      ph: phase === 'begin' ? 'b' : 'e',
      cat: 'request',
      name: device,
      id: `${device}/${tag}`,
      pid: 0,
      tid: DISK_THREAD,
      ts: time * 1000,
      args,
    })
  }

  #idOf(machine: string): number {
    const index = this.#machines.indexOf(machine)
    return index < 0 ? this.#machines.push(machine) : index + 1
  }

  #add(event: TraceEvent): void {
    if (this.#events.length < this.#limit) this.#events.push(event)
    else this.#dropped++
  }
}
