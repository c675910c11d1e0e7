import type { StopReason } from '../index.js'

/** The exit statuses of `node-kvm run`, as `--help` lists them. */
export const EXIT_STATUS = {
  shutdown: 0,
  hostError: 1,
  usage: 2,
  reset: 10,
  crashed: 11,
  killed: 12,
  timeout: 124,
} as const

/** How a guest's end becomes the status of the process. */
export function exitStatus(reason: StopReason): number {
  switch (reason.kind) {
    case 'shutdown':
      return EXIT_STATUS.shutdown
    case 'reset':
      return EXIT_STATUS.reset
    case 'crashed':
      return EXIT_STATUS.crashed
    case 'killed':
      return EXIT_STATUS.killed
    case 'error':
      return EXIT_STATUS.hostError
  }
}

export const EXIT_STATUS_HELP = `
Exit status:
    0  the guest powered off
    1  an error on the host
    2  wrong usage
   10  the guest rebooted
   11  the guest crashed (triple fault)
   12  stopped by Ctrl-A x or a signal
  124  --timeout passed`
