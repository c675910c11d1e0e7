import { VmmError } from '../errors.js'
import type { RunEnding } from './run-ending.js'

/** Why a machine runs no more. A program tells the cases apart by `kind`. */
export type StopReason =
  /** The guest powered itself off. */
  | { readonly kind: 'shutdown' }
  /** The guest asked for a reboot, and the option `onReset` is `'stop'`. */
  | { readonly kind: 'reset' }
  /** The guest's processor could not go on: a triple fault, or a crash that the guest reported. */
  | { readonly kind: 'crashed'; readonly detail: string }
  /** The guest wrote `code` to the device `debugExit`. */
  | { readonly kind: 'exit'; readonly code: number }
  /**
   * The guest's kernel panicked, and told the device `pvpanic`, rebooted or crashed. `message` is what it printed on the
   * serial console: `'Attempted to kill init! exitcode=0x00000100'`.
   */
  | { readonly kind: 'panicked'; readonly message: string | undefined }
  /** The guest did not feed its watchdog in time. */
  | { readonly kind: 'watchdog' }
  /** The program ended it, by `stop()` or `close()`. */
  | { readonly kind: 'killed' }
  /** Something on the host failed: KVM, or a device model. */
  | { readonly kind: 'error'; readonly error: Error }

/** A reason in a few words, for people. */
export function describeStopReason(reason: StopReason): string {
  switch (reason.kind) {
    case 'shutdown':
      return 'the guest powered off'
    case 'reset':
      return 'the guest rebooted'
    case 'crashed':
      return `the guest crashed: ${reason.detail}`
    case 'exit':
      return `the guest ended with code ${reason.code}`
    case 'panicked':
      return `the guest's kernel panicked${reason.message === undefined ? '' : `: ${reason.message}`}`
    case 'watchdog':
      return 'the guest did not feed its watchdog'
    case 'killed':
      return 'the machine was stopped'
    case 'error':
      return `the host failed: ${reason.error.message}`
  }
}

/** The reason, where the guest has printed `panic` as its kernel's last words. */
export function afterPanic(reason: StopReason, panic: string | undefined): StopReason {
  if (panic === undefined) return reason
  const follows = reason.kind === 'reset' || reason.kind === 'crashed' || reason.kind === 'panicked'
  return follows ? { kind: 'panicked', message: panic } : reason
}

/** What a run loop's ending means for the machine. */
export function stopReason(ending: RunEnding): StopReason {
  switch (ending.kind) {
    case 'shutdown':
    case 'reset':
      return { kind: ending.kind }
    case 'crash':
    case 'halted':
      return { kind: 'crashed', detail: ending.detail }
    case 'kvm-error':
    case 'device-error':
      return { kind: 'error', error: ending.error }
    case 'internal-error':
    case 'fail-entry':
      return { kind: 'error', error: new VmmError('ERR_GUEST', ending.detail) }
  }
}
