import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describeStopReason, type StopReason, VmmError } from '../index.js'
import type { KernelReport, KernelReportKind } from './kernel-reports.js'
import type { KtapReport, KtapTest } from './ktap.js'

/** Why a boot test failed. */
export interface BootFailure {
  /**
   * - `timeout`, `aborted`: it did not end in time, or the signal said so
   * - `stopped`: the kernel panicked, the machine crashed, its watchdog was not fed, or something on the host failed
   * - `exit-code`: the guest gave another than 0
   * - `report`: the kernel complained
   * - `ktap`: a test in the guest failed, or its output breaks the format
   * - `log`: the log of a boot that failed could not be written
   */
  readonly kind: 'timeout' | 'aborted' | 'stopped' | 'exit-code' | 'report' | 'ktap' | 'log'
  /** What happened, with the log around it where there is one. */
  readonly message: string
}

/** How a boot test ended. */
export interface BootResult {
  /** As it was given. */
  readonly name: string
  /** How the guest ended. */
  readonly reason: StopReason
  /** What the guest gave as its exit status, if it did: by the device `debugExit`, or as the option `run`'s. */
  readonly exitCode: number | undefined
  /** What it printed, as far as it is kept. */
  readonly log: string
  /** Characters of the log that are kept no more. */
  readonly logDropped: number
  /** The kernel's complaints, the allowed ones included. */
  readonly reports: readonly KernelReport[]
  /** The tests that it has reported. */
  readonly ktap: KtapReport
  /** Why it is not `ok`. */
  readonly failures: readonly BootFailure[]
  /** Whether there is no failure. */
  readonly ok: boolean
  /** Where the log of a boot that failed was written. */
  readonly logFile: string | undefined
}

/** What has been seen of a boot, to be judged. */
export type BootOutcome = Omit<BootResult, 'failures' | 'ok' | 'logFile'> & {
  readonly allow: readonly (KernelReportKind | RegExp)[]
  readonly interrupted: BootFailure | undefined
}

const STOPPED: ReadonlySet<string> = new Set(['crashed', 'watchdog', 'error'])

export function judge(outcome: BootOutcome): BootFailure[] {
  const { reason, exitCode, reports, ktap, allow, interrupted } = outcome
  const failures: BootFailure[] = interrupted ? [interrupted] : []
  const panicked = reason.kind === 'panicked' && !allow.includes('panic')
  if (panicked || STOPPED.has(reason.kind)) {
    failures.push({ kind: 'stopped', message: describeStopReason(reason) })
  }
  if (exitCode !== undefined && exitCode !== 0) {
    failures.push({ kind: 'exit-code', message: `the guest gave exit status ${exitCode}` })
  }
  for (const { kind, title, line, text, log } of reports) {
    if (allow.some((item) => (item instanceof RegExp ? item.test(text) : item === kind))) continue
    failures.push({ kind: 'report', message: `${kind} in line ${line}: ${title}\n${log}` })
  }
  const problems = ktap.tests.length > 0 ? ktap.problems : []
  for (const message of [...problems, ...failedTests(ktap.tests)]) {
    failures.push({ kind: 'ktap', message })
  }
  return failures
}

/** At most this many are listed one by one. */
const MAX_LISTED = 100

/** The innermost tests that failed, by their paths, with what was printed before their results. */
export function failedTests(tests: readonly KtapTest[], path = ''): string[] {
  const found: string[] = []
  for (const test of tests) {
    if (found.length >= MAX_LISTED) break
    if (test.status !== 'failed' && test.status !== 'incomplete') continue
    const name = path === '' ? test.name : `${path} > ${test.name}`
    const inner = failedTests(test.subtests, name)
    const reason = test.reason === '' ? '' : ` (${test.reason})`
    const text = test.diagnostics.map((line) => `\n    ${line}`).join('')
    if (inner.length > 0) found.push(...inner)
    else found.push(`${name}: ${test.status}${reason}${text}`)
  }
  return found.slice(0, MAX_LISTED)
}

/** Every failure, one after another. */
function describeFailures(name: string, failures: readonly BootFailure[]): string {
  return failures.map(({ kind, message }) => `${name}: ${kind}: ${message}`).join('\n')
}

let written = 0

/** Keeps the log of a boot that failed. Returns the file's path. */
export async function keepLog(
  folder: string,
  outcome: BootOutcome,
  failures: readonly BootFailure[],
): Promise<string> {
  await mkdir(folder, { recursive: true })
  const time = new Date().toISOString().replace(/[:.]/g, '-')
  const name = outcome.name.replace(/[^\w.-]+/g, '-').slice(0, 100)
  const path = join(folder, `${name}-${time}-${process.pid}-${written++}.log`)
  const summary = describeFailures(outcome.name, failures)
  const lost = outcome.logDropped > 0 ? `${outcome.logDropped} characters before it are lost.` : ''
  await writeFile(path, `${summary}\n\nThe console's log. ${lost}\n\n${outcome.log}`)
  return path
}

/** What {@link BootTest.passed} throws. */
export function failureError({ name, failures, logFile }: BootResult): VmmError {
  const where = logFile === undefined ? '' : `\nThe whole log: ${logFile}`
  return new VmmError('ERR_BOOT_TEST', `${describeFailures(name, failures)}${where}`)
}
