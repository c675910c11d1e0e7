import type { StopReason } from '../index.js'

/** The exit statuses of `node-kvm run`, as `--help` lists them. */
export const EXIT_STATUS = {
  shutdown: 0,
  hostError: 1,
  usage: 2,
  reset: 10,
  crashed: 11,
  killed: 12,
  panicked: 13,
  watchdog: 14,
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
    // As QEMU has it: odd, so that no code of the guest's is taken for a success.
    case 'exit':
      return ((reason.code << 1) | 1) & 0xff
    case 'panicked':
      return EXIT_STATUS.panicked
    case 'watchdog':
      return EXIT_STATUS.watchdog
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
   13  the guest's kernel panicked, and rebooted or told --pvpanic
   14  the guest did not feed its watchdog
  124  --timeout passed
  2n+1 the guest wrote n to --debug-exit
With --rootfs: the command's; 126 if it cannot be run, 127 if it is not there, and
128 and the signal's number if it was killed.`
