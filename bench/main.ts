/**
 * `npm run bench -- [NAME…]`: runs the benchmarks, each in a process of its own; those that boot stock kernels run in
 * the emulated KVM host where this machine's KVM cannot. USAGE has the rest.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { kvmUsable } from '../lib/index.js'
import { BENCHMARKS } from './catalogue.js'
import { rounds } from './lib/cli.js'
import type { Figure } from './lib/figure.js'
import { prepareAssets } from './lib/guest-assets.js'
import { host } from './lib/platform.js'
import { page, withFigures } from './lib/report.js'
import { runBenchmark } from './lib/run-benchmark.js'
import { svg } from './lib/svg.js'

const USAGE = `usage: npm run bench -- [NAME…] [OPTIONS]
names: ${Object.keys(BENCHMARKS).join(', ')}
  --rounds N    of each measurement
  --json        one JSON object on standard output, nothing else
  --svg FILE    draws the figures too
  --docs FILE   puts the table into a page, between its lines <!-- figures --> and <!-- end of figures -->
  --from FILE   takes in what --json gave before; only what is named is measured then (repeatable)
  --quick       as short as can be, to see whether all of it works
  --verbose     shows what the guests say
`
const say = (text: string) => void process.stderr.write(`${text}\n`)

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    svg: { type: 'string' },
    docs: { type: 'string' },
    from: { type: 'string', multiple: true, default: [] },
    quick: { type: 'boolean', default: false },
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

interface Run {
  readonly figures: Figure[]
  readonly missing: { name: string; why: string }[]
}
const before = values.from.map((path) => JSON.parse(readFileSync(path, 'utf8')) as Run)
const figures = before.flatMap((run) => run.figures)
const missing = before.flatMap((run) => run.missing)

const { usable, why } = await kvmUsable()
const all = before.length > 0 ? [] : Object.keys(BENCHMARKS)
const names = positionals.length > 0 ? positionals : all
if (names.some((name) => BENCHMARKS[name]!.guest)) await prepareAssets(say)

const options = (['quick', 'verbose'] as const)
  .filter((name) => values[name])
  .map((name) => `--${name}`)
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
const table = page(figures, description)
process.stdout.write(
  values.json ? `${JSON.stringify({ host: description, figures, missing })}\n` : table,
)
if (values.svg !== undefined) writeFileSync(values.svg, svg(figures, description))
if (values.docs !== undefined) {
  writeFileSync(values.docs, withFigures(readFileSync(values.docs, 'utf8'), table))
}
if (missing.length > 0) process.exitCode = 1
