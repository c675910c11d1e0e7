import { Command } from 'commander'
import { formatByteSize } from '../index.js'
import { printJson, printTable } from './output.js'

interface PsOptions {
  json?: boolean
  quiet?: boolean
}

/** `node-kvm ps` */
export function psCommand(): Command {
  return new Command('ps')
    .description('List the machines that `node-kvm run` runs for this user.')
    .option('--json', 'print them as JSON')
    .option('-q, --quiet', 'print their names alone')
    .action(async ({ json, quiet }: PsOptions) => {
      const { runningMachines } = await import('./supervisor/client.js')
      const machines = await runningMachines()
      if (json) printJson(machines)
      else if (quiet) process.stdout.write(machines.map(({ name }) => `${name}\n`).join(''))
      else {
        printTable(
          ['NAME', 'PID', 'STATE', 'CPUS', 'MEMORY', 'UP', 'KERNEL'],
          machines.map(({ name, pid, state, cpus, memory, started, kernel }) => [
            name,
            `${pid}`,
            state,
            `${cpus}`,
            formatByteSize(memory),
            upTime(started),
            kernel,
          ]),
        )
      }
    })
}

function upTime(started: string): string {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(started)) / 1000))
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60]
  return parts.map((part) => `${part}`.padStart(2, '0')).join(':')
}
