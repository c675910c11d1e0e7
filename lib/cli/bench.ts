import { cpus, release, tmpdir } from 'node:os'
import { Argument, Command } from 'commander'
import { kvmUsable } from '../index.js'
import type { BenchFigure, BenchMissing } from './bench/figures.js'
import { EXIT_STATUS } from './exit-status.js'
import { clearStatus, printJson, printTable, showStatus } from './output.js'

const PARTS = ['start', 'exits', 'linux'] as const
type Part = (typeof PARTS)[number]

interface BenchOptions {
  quick: boolean
  folder: string
  json?: boolean
}

/** `node-kvm bench` */
export function benchCommand(): Command {
  return new Command('bench')
    .description(
      'Measure this machine: how soon a guest runs, exits per second, and with stock Linux guests boots, programs, disk and network. What it measures wants a machine that has nothing else to do.',
    )
    .addArgument(new Argument('[part...]', 'what to measure: all unless told').choices(PARTS))
    .option('--quick', 'as short as can be, to see whether all of it works', false)
    .option('--folder <path>', "where the disk's image is made, of 256 MiB", tmpdir())
    .option('--json', 'print the figures as JSON')
    .addHelpText('after', '\nExit status: 0, or 1 if something could not be measured.')
    .action(async (given: Part[], options: BenchOptions) => {
      const { figures, missing } = await measure(given.length > 0 ? given : PARTS, options)
      const { why } = await kvmUsable()
      const host = {
        cpu: cpus()[0]?.model.trim() ?? 'unknown',
        cpus: cpus().length,
        linux: release(),
        node: process.version,
        kvm: why,
      }
      if (options.json) printJson({ host, figures, missing })
      else {
        const { formatNumber } = await import('./bench/figures.js')
        printTable(
          ['FIGURE', 'MEDIAN', 'UNIT', 'RANGE'],
          figures.map(({ name, unit, median, smallest, largest, runs }) => [
            name,
            formatNumber(median),
            unit,
            runs === 1 ? '' : `${formatNumber(smallest)} to ${formatNumber(largest)}`,
          ]),
        )
        process.stdout.write(
          `\n${host.cpu}, ${host.cpus} CPUs, Linux ${host.linux}, Node ${host.node}; KVM: ${host.kvm}\n`,
        )
        for (const { name, why } of missing) process.stderr.write(`not measured: ${name}: ${why}\n`)
      }
      process.exitCode = missing.length === 0 ? 0 : EXIT_STATUS.hostError
    })
}

async function measure(parts: readonly Part[], { quick, folder }: BenchOptions) {
  const figures: BenchFigure[] = []
  const missing: BenchMissing[] = []
  for (const part of PARTS.filter((each) => parts.includes(each))) {
    showStatus(`measuring ${part}`)
    try {
      figures.push(...(await measurePart(part, quick, folder)))
    } catch (error) {
      missing.push({ name: part, why: (error as Error).message })
    } finally {
      clearStatus()
    }
  }
  return { figures, missing }
}

async function measurePart(part: Part, quick: boolean, folder: string): Promise<BenchFigure[]> {
  if (part === 'linux') {
    const { usable, why } = await kvmUsable()
    if (!usable) throw new Error(`${why}; emulated: node-kvm host -- node-kvm bench linux`)
    const { measureLinux } = await import('./bench/linux.js')
    return await measureLinux({ quick, folder, report: showStatus })
  }
  const { measureExits, measureStart } = await import('./bench/exits.js')
  return await (part === 'start' ? measureStart(quick) : measureExits(quick))
}
