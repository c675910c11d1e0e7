import { Command, InvalidArgumentError } from 'commander'
import { printJson } from './output.js'
import type { StopAnswer } from './supervisor/protocol.js'

interface StopOptions {
  force: boolean
  timeout: number
  json?: boolean
}

/** Seconds for the answer beyond those that the guest has. */
const SLACK = 10

/** `node-kvm stop` */
export function stopCommand(): Command {
  return new Command('stop')
    .description('Press the power button of a machine; end it if it does not end by itself.')
    .argument('<name>', 'as `node-kvm ps` lists it')
    .option('-f, --force', 'end it at once, as pulling the plug does', false)
    .option('-t, --timeout <seconds>', 'how long it may take to power off', seconds, 30)
    .option('--json', 'print how it ended as JSON')
    .action(async (name: string, { force, timeout, json }: StopOptions) => {
      const { askOnce } = await import('./supervisor/client.js')
      const request = { method: 'stop', force, timeout: timeout * 1000 } as const
      const answer = await askOnce(name, request, (timeout + SLACK) * 1000)
      if (json) printJson({ name, ...(answer as StopAnswer) })
    })
}

function seconds(text: string): number {
  const value = Number(text)
  if (/^\d{1,6}$/.test(text) && value > 0) return value
  throw new InvalidArgumentError('expected a whole number from 1 to 999999')
}
