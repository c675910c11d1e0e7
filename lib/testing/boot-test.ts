import { VirtualMachine } from '../index.js'
import { BootConsole } from './boot-console.js'
import { guestOptions } from './boot-initramfs.js'
import { type BootConfig, type BootTestOptions, parseBootOptions } from './boot-options.js'
import { type BootFailure, type BootResult, failureError, judge, keepLog } from './boot-result.js'
import { KernelReportScanner } from './kernel-reports.js'
import { KtapParser } from './ktap.js'
import { LineSplitter } from './line-splitter.js'

/** Milliseconds for which a kernel that panicked may be silent: it ends by itself, or has said all that it says. */
const PANIC_SILENCE = 2000
/** How the `/init` of `guestInit` tells of a script's end. */
const EXIT_LINE = /^node-kvm: exit (\d{1,3})$/

/** A kernel that is being booted, and what it says. Made by {@link bootTest}. */
export class BootTest implements AsyncDisposable {
  /** The machine itself. */
  readonly vm: VirtualMachine
  /** What the guest prints, to wait for. */
  readonly console: BootConsole
  /** How it ended. Never rejects. */
  readonly result: Promise<BootResult>

  readonly #config: BootConfig
  readonly #splitter = new LineSplitter()
  readonly #reports = new KernelReportScanner()
  readonly #ktap = new KtapParser()
  #exitCode: number | undefined
  #interrupted: BootFailure | undefined
  #panicking: NodeJS.Timeout | undefined

  /** @internal */
  constructor(vm: VirtualMachine, config: BootConfig) {
    this.vm = vm
    this.#config = config
    const { output } = vm.console
    this.console = new BootConsole(output, config.logSize, (text) => this.#read(text))
    const outputEnd = new Promise<void>((resolve) => {
      output.once('end', resolve).once('close', resolve)
    })
    this.result = this.#watch(outputEnd)
  }

  /** Types on the guest's console. */
  send(text: string | Uint8Array): void {
    this.vm.console.input.write(text)
  }

  /**
   * Waits for the guest's end, and judges it.
   * @throws VmmError `ERR_BOOT_TEST` telling every failure with the log around it: a timeout, a crash, an exit status other
   *   than 0, a complaint of the kernel's, a failed test
   */
  async passed(): Promise<BootResult> {
    const result = await this.result
    if (!result.ok) throw failureError(result)
    return result
  }

  /** Stops the machine and gives everything back. */
  async close(): Promise<void> {
    await this.vm.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #read(text: string): void {
    this.#panicking?.refresh()
    for (const line of this.#splitter.push(text)) this.#readLine(line)
  }

  #readLine(line: string): void {
    this.#ktap.push(line)
    const exit = EXIT_LINE.exec(line)
    if (exit) this.#exitCode = Number(exit[1])
    const kind = this.#reports.push(line)
    if (kind === 'panic' && !this.#config.allow.includes('panic')) {
      this.#panicking ??= setTimeout(() => this.#endPanic(), PANIC_SILENCE)
    }
  }

  #endPanic(): void {
    this.console.fail('the kernel panicked')
    void this.vm.stop()
  }

  #interrupt(failure: BootFailure, cause?: unknown): void {
    this.#interrupted ??= failure
    this.console.fail(failure.message, cause)
    void this.vm.stop()
  }

  async #watch(outputEnd: Promise<void>): Promise<BootResult> {
    const { timeout, signal, allow, logFolder } = this.#config
    const timer = setTimeout(() => {
      this.#interrupt({ kind: 'timeout', message: `the guest has not ended within ${timeout} ms` })
    }, timeout)
    const onAbort = () =>
      this.#interrupt({ kind: 'aborted', message: 'the test was aborted' }, signal?.reason)
    signal?.addEventListener('abort', onAbort)
    if (signal?.aborted) onAbort()
    const reason = await this.vm.stopped
    clearTimeout(timer)
    clearTimeout(this.#panicking)
    signal?.removeEventListener('abort', onAbort)
    await outputEnd
    for (const line of this.#splitter.end()) this.#readLine(line)
    clearTimeout(this.#panicking)
    this.console.fail('the guest ended')
    const outcome = {
      name: this.vm.config.name,
      reason,
      exitCode: reason.kind === 'exit' ? reason.code : this.#exitCode,
      log: this.console.text,
      logDropped: this.console.dropped,
      reports: this.#reports.reports(),
      ktap: this.#ktap.report(),
      allow,
      interrupted: this.#interrupted,
    }
    const failures = judge(outcome)
    let logFile: string | undefined
    try {
      if (failures.length > 0 && logFolder !== undefined) {
        logFile = await keepLog(logFolder, outcome, failures)
      }
    } catch (error) {
      failures.push({ kind: 'log', message: (error as Error).message })
    }
    const { allow: _, interrupted: __, ...seen } = outcome
    return { ...seen, failures, ok: failures.length === 0, logFile }
  }
}

/**
 * Boots a kernel to test it, and gives what is needed to talk with it and to judge it.
 *
 * @example
 * ```ts
 * import { bootTest, kernelAsset } from 'node-kvm/testing'
 *
 * await using boot = await bootTest({
 *   kernel: await kernelAsset('6.12'),
 *   run: 'grep -q "^Linux version 6.12" /proc/version',
 * })
 * await boot.console.waitFor('node-kvm: init')
 * await boot.passed()
 * ```
 * @throws VmmError `ERR_INVALID_OPTION`, `ERR_ASSET`, and what {@link VirtualMachine.create} throws
 */
export async function bootTest(options: BootTestOptions): Promise<BootTest> {
  const config = parseBootOptions(options)
  config.signal?.throwIfAborted()
  const vm = await VirtualMachine.create(await guestOptions(config))
  const boot = new BootTest(vm, config)
  try {
    await vm.start()
  } catch (error) {
    await vm.close()
    throw error
  }
  return boot
}
