/**
 * `npm run bench -- [NAME…] [--rounds N] [--json]`: runs the benchmarks, each in a process of its own; those that boot
 * stock kernels run in the emulated KVM host where this machine's KVM cannot.
 */
import { spawn } from 'node:child_process'
import { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { kvmUsable } from '../lib/index.js'
import { runInEmulatedHost } from '../lib/testing.js'
import type { Figure } from './lib/figure.js'
import { hostDescription, markdown } from './lib/report.js'

/** What there is, and whether it boots stock kernels. */
const BENCHMARKS: Readonly<Record<string, { guest: boolean }>> = {
  boot: { guest: true },
  console: { guest: true },
  memory: { guest: true },
  exits: { guest: false },
  'kvm-lifecycle': { guest: false },
  ring: { guest: false },
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
const unknown = positionals.find((name) => !(name in BENCHMARKS))
if (values.help || unknown !== undefined) {
  const message = `usage: npm run bench -- [NAME…] [--rounds N] [--json]\nnames: ${Object.keys(BENCHMARKS).join(', ')}\n`
  if (unknown !== undefined) process.stderr.write(`no benchmark ${unknown}\n`)
  ;(unknown === undefined ? process.stdout : process.stderr).write(message)
  process.exit(unknown === undefined ? 0 : 2)
}

const { usable, why } = await kvmUsable()
const names = positionals.length > 0 ? positionals : Object.keys(BENCHMARKS)
const figures: Figure[] = []
const options = ['--json', ...(values.rounds === undefined ? [] : ['--rounds', values.rounds])]
for (const name of names) {
  process.stderr.write(`${name}…\n`)
  const script = fileURLToPath(new URL(`./${name}.js`, import.meta.url))
  const command = [process.execPath, '--expose-gc', script, ...options]
  const emulate = BENCHMARKS[name]!.guest && !usable
  figures.push(...(JSON.parse(await (emulate ? emulated(command) : here(command))) as Figure[]))
}

const host = hostDescription(usable ? why : `stock guests: the emulated KVM host; the rest: ${why}`)
process.stdout.write(
  values.json
    ? `${JSON.stringify({ host, figures })}\n`
    : `${markdown(figures)}\n\nOn ${host.cpu}, ${host.cpus} CPUs, Node ${host.node}; KVM: ${host.kvm}.\n`,
)

async function here([command, ...args]: string[]): Promise<string> {
  const child = spawn(command!, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (data: Buffer) => {
    output += data
  })
  const status = await new Promise((resolve) => child.once('close', resolve))
  if (status !== 0) throw new Error(`${args.join(' ')} ended with status ${status}`)
  return output
}

async function emulated(command: string[]): Promise<string> {
  const chunks: Buffer[] = []
  const stdout = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk)
      done()
    },
  })
  const { exitCode } = await runInEmulatedHost(command, { stdin: 'ignore', stdout })
  if (exitCode !== 0) throw new Error(`${command.join(' ')} ended with status ${exitCode}`)
  return Buffer.concat(chunks).toString()
}
