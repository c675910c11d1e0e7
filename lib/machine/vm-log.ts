import type { StopReason } from './stop-reason.js'
import { describeStopReason } from './stop-reason.js'
import { describeWarning, type VmWarning } from './vm-warning.js'

/** Where a machine's log goes: pino's loggers are such, and `console` nearly. */
export interface Log {
  /** What is of use only to whoever looks for a fault. */
  debug(fields: object, message: string): void
  /** What one may want to know. */
  info(fields: object, message: string): void
  /** What is not as it should be; the machine goes on. */
  warn(fields: object, message: string): void
  /** What ends the machine. */
  error(fields: object, message: string): void
}

/** What of a machine's life is logged, and how much it matters. What the logger throws is its own affair. */
export class VmLog {
  readonly #log: Log | undefined
  readonly #machine: string

  constructor(log: Log | undefined, machine: string) {
    this.#log = log
    this.#machine = machine
  }

  state(state: string): void {
    this.#write('debug', { state }, `the machine is ${state}`)
  }

  reset(): void {
    this.#write('info', {}, 'the machine has been reset')
  }

  warning(warning: VmWarning): void {
    this.#write('warn', { warning }, describeWarning(warning))
  }

  stopped(reason: StopReason): void {
    const level = LEVELS[reason.kind] ?? 'warn'
    const fields = reason.kind === 'error' ? { reason: reason.kind, err: reason.error } : { reason }
    this.#write(level, fields, describeStopReason(reason))
  }

  #write(level: keyof Log, fields: object, message: string): void {
    try {
      this.#log?.[level]({ machine: this.#machine, ...fields }, message)
    } catch {
      // A machine does not end for its log.
    }
  }
}

const LEVELS: Readonly<Partial<Record<StopReason['kind'], keyof Log>>> = {
  shutdown: 'info',
  reset: 'info',
  exit: 'info',
  killed: 'info',
  error: 'error',
}
