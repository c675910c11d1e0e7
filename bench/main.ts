/**
 * `npm run bench -- [NAME…] [--rounds N] [--json] [--svg FILE]`: runs the benchmarks, each in a process of its own;
 * those that boot stock kernels run in the emulated KVM host where this machine's KVM cannot.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { kvmUsable } from '../lib/index.js'
import { BENCHMARKS } from './catalogue.js'
import { rounds } from './lib/cli.js'
import type { Figure } from './lib/figure.js'
import { prepareAssets } from './lib/guest-assets.js'
import { host } from './lib/platform.js'
import { markdown } from './lib/report.js'
import { runBenchmark } from './lib/run-benchmark.js'
import { svg } from './lib/svg.js'

const USAGE = `usage: npm run bench -- [NAME…] [--rounds N] [--json] [--svg FILE] [--verbose]
names: ${Object.keys(BENCHMARKS).join(', ')}
`
const say = (text: string) => void process.stderr.write(`${text}\n`)

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    svg: { type: 'string' },
    verbose: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
const unknown = positionals.find((name) => !(name in BENCHMARKS))
if (values.help || unknown !== undefined) {
  if (unknown !== undefined) say(`no benchmark ${unknown}`)
  ;(unknown === undefined ? process.stdout : process.stderr).write(USAGE)
  process.exit(unknown === undefined ? 0 : 2)
}
rounds(1) // checks it

const { usable, why } = await kvmUsable()
const names = positionals.length > 0 ? positionals : Object.keys(BENCHMARKS)
if (names.some((name) => BENCHMARKS[name]!.guest)) await prepareAssets(say)

const figures: Figure[] = []
const missing: { name: string; why: string }[] = []
const options = values.verbose ? ['--verbose'] : []
if (values.rounds !== undefined) options.unshift('--rounds', values.rounds)
for (const name of names) {
  say(`${name}…`)
  const benchmark = BENCHMARKS[name]!
  const emulate = benchmark.guest && !usable
  const { figures: made, error } = await runBenchmark(name, benchmark, options, emulate)
  figures.push(...made)
  const lacking = benchmark.figures.filter((title) => made.every((one) => one.name !== title))
  missing.push(...lacking.map((title) => ({ name: title, why: error ?? 'not measured' })))
  if (error !== undefined) say(`${name} failed: ${error}`)
}
for (const { name, why } of missing) say(`missing: ${name} (${why.split('\n')[0]})`)

const description = host(usable ? why : `stock guests: the emulated KVM host; the rest: ${why}`)
const { cpu, cpus, node, kvm } = description
process.stdout.write(
  values.json
    ? `${JSON.stringify({ host: description, figures, missing })}\n`
    : `${markdown(figures)}\n\nOn ${cpu}, ${cpus} CPUs, Node ${node}; KVM: ${kvm}.\n`,
)
if (values.svg !== undefined) writeFileSync(values.svg, svg(figures, description))
if (missing.length > 0) process.exitCode = 1
