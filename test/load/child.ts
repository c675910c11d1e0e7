import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
// @ts-expect-error: plain JavaScript, as the scripts are
import { bundleTests } from '../../scripts/lib/bundle-tests.mjs'
import { root } from '../helpers/imports.js'
import { limit, PATIENCE } from '../helpers/process-state.js'

/** Compiles a program of `test/load/programs`, with what it imports from `test`; the library it takes as it is built. */
export async function compileProgram(name: string): Promise<string> {
  const [path] = await bundleTests({ folder: 'build-load', files: [`load/programs/${name}.ts`] })
  return path
}

export interface Ended {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** A Node of its own, with what it has said so far. */
export class Child {
  readonly process: ChildProcess
  stdout = ''
  stderr = ''
  readonly #closed: Promise<unknown>
  #isClosed = false

  /** @param wrapper a program that starts Node, with its arguments, such as `['prlimit', '--fsize=65536']` */
  constructor(program: string, args: readonly string[] = [], wrapper: readonly string[] = []) {
    const [command, ...rest] = [...wrapper, process.execPath, '--expose-gc', program, ...args]
    this.process = spawn(command!, rest, { stdio: ['pipe', 'pipe', 'pipe'], cwd: root })
    this.#closed = once(this.process, 'close').then(() => {
      this.#isClosed = true
    })
    this.process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
    })
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
  }

  /** Resolves when it has said `text`, or rejects when it has ended without. */
  async says(text: string): Promise<void> {
    while (!this.stdout.includes(text)) {
      // Not at its exit: what it said before that may still be on its way.
      if (this.#isClosed) throw new Error(`ended without "${text}": ${this.stdout}${this.stderr}`)
      await Promise.race([once(this.process.stdout!, 'data'), this.#closed])
    }
  }

  /** Ends by SIGKILL what does not end in time. */
  async ended(): Promise<Ended> {
    const timer = setTimeout(() => this.process.kill('SIGKILL'), limit(PATIENCE))
    await this.#closed
    clearTimeout(timer)
    const { exitCode: status, signalCode: signal } = this.process
    return { status, signal, stdout: this.stdout, stderr: this.stderr }
  }
}
