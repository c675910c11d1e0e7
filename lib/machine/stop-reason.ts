import { VmmError } from '../errors.js'
import type { RunEnding } from './run-ending.js'

/** Why a machine runs no more. A program tells the cases apart by `kind`. */
export type StopReason =
  /** The guest powered itself off. */
  | { readonly kind: 'shutdown' }
  /** The guest asked for a reboot. The machine does not start again by itself: create another one. */
  | { readonly kind: 'reset' }
  /** The guest's processor could not go on: a triple fault, or a crash that the guest reported. */
  | { readonly kind: 'crashed'; readonly detail: string }
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
    case 'killed':
      return 'the machine was stopped'
    case 'error':
      return `the host failed: ${reason.error.message}`
  }
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
