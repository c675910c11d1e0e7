import { spawn } from 'node:child_process'
import { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { runInEmulatedHost } from '../../lib/testing.js'
import type { Benchmark } from '../catalogue.js'
import type { Figure } from './figure.js'

/** What benchmarks do at the most in one go, unless told how many rounds. */
const ROUNDS = 7

/** What a benchmark measured, and what it failed with. */
export interface Outcome {
  readonly figures: readonly Figure[]
  readonly error: string | undefined
}

/**
 * Runs a benchmark in a process of its own, here or in the emulated host.
 * @param options for it: `--rounds N` first, `--verbose`
 */
export async function runBenchmark(
  name: string,
  { roundLimit }: Benchmark,
  options: readonly string[],
  emulate: boolean,
): Promise<Outcome> {
  const script = fileURLToPath(new URL(`../${name}.js`, import.meta.url))
  const command = [process.execPath, '--expose-gc', script, '--json', ...options]
  const limit = roundLimit * (options[0] === '--rounds' ? Number(options[1]) : ROUNDS)
  let output = ''
  const take = (data: Buffer | string) => {
    output += data
  }
  try {
    const status = await (emulate ? emulated : here)(command, limit, take)
    if (status !== 0) return { figures: parse(output), error: `status ${status}` }
    return { figures: parse(output), error: undefined }
  } catch (error) {
    return { figures: parse(output), error: (error as Error).message }
  }
}

/** Each line is an array of figures. */
function parse(output: string): Figure[] {
  const lines = output.split('\n').filter((line) => line.startsWith('['))
  return lines.flatMap((line) => JSON.parse(line) as Figure[])
}

type Take = (data: Buffer) => void

async function here(command: string[], limit: number, take: Take): Promise<number | string> {
  const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] })
  child.stdout.on('data', take)
  let late = false
  const timer = setTimeout(() => {
    late = true
    child.kill('SIGKILL')
  }, limit * 1000)
  const status = await new Promise<number | string>((resolve) =>
    child.once('close', (code, signal) => resolve(code ?? signal ?? 1)),
  )
  clearTimeout(timer)
  if (late) throw new Error(`it was ended after ${limit} s`)
  return status
}

async function emulated(command: string[], limit: number, take: Take): Promise<number> {
  const stdout = new Writable({
    write(chunk: Buffer, _encoding, done) {
      take(chunk)
      done()
    },
  })
  const options = { stdin: 'ignore', stdout, timeoutSeconds: limit } as const
  return (await runInEmulatedHost(command, options)).exitCode
}
