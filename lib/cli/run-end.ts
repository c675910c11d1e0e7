import type { GuestExit, StopReason } from '../index.js'

/** How a run ended, as `node-kvm run --json` prints it. */
export type RunEnd = (
  | Exclude<StopReason, { kind: 'error' }>
  | { readonly kind: 'error'; readonly error: string }
  // With --rootfs.
  | ({ readonly kind: 'command' } & GuestExit)
) & {
  /** Of the process. */
  readonly status: number
}

export function endOf(reason: StopReason, status: number): RunEnd {
  return reason.kind === 'error'
    ? { kind: reason.kind, error: reason.error.message, status }
    : { ...reason, status }
}

/** On standard error, as its last line: standard output is the guest's. */
export function printEnd(end: RunEnd): void {
  process.stderr.write(`${JSON.stringify(end)}\n`)
}
