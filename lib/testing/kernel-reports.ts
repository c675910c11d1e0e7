import { splitLines } from './line-splitter.js'
import { withoutPrintkPrefix } from './printk.js'

/** What a kernel complains of, by the words that start the complaint. */
const KINDS = [
  ['panic', /Kernel panic - not syncing/],
  ['kasan', /BUG: (?:KASAN|KFENCE|KMSAN|KCSAN): /],
  ['ubsan', /UBSAN: /],
  [
    'lockdep',
    /WARNING: (?:possible (?:circular|recursive|irq) |suspicious RCU usage|inconsistent lock state|bad unlock balance|held lock freed|.{0,40} lock(?:s)? held when returning)|BUG: Invalid wait context|\bINFO: (?:possible |trying to register non-static key|lockdep is turned off)/,
  ],
  [
    'lockup',
    /watchdog: BUG: soft lockup|NMI watchdog: Watchdog detected hard LOCKUP|Watchdog detected hard LOCKUP/,
  ],
  [
    'rcu-stall',
    /\brcu: INFO: \S+ (?:self-)?detected (?:expedited )?stalls?|\bINFO: rcu_\w+ (?:self-)?detected/,
  ],
  ['hung-task', /INFO: task .{1,64} blocked for more than \d+ seconds/],
  [
    'oops',
    /BUG: unable to handle|BUG: kernel NULL pointer dereference|Oops: |general protection fault|kernel BUG at |double fault: |invalid opcode: \d|stack segment: \d|divide error: \d/,
  ],
  ['memory-leak', /kmemleak: \d+ new suspected memory leaks/],
  ['bug', /\bBUG: |Internal error: /],
  ['warning', /WARNING: (?:CPU|at|\S+:\d+)/],
] as const

/** A kind of complaint of a kernel's: one of {@link KERNEL_REPORT_KINDS}. */
export type KernelReportKind = (typeof KINDS)[number][0]

/** Every kind of report that is recognized. */
export const KERNEL_REPORT_KINDS: readonly KernelReportKind[] = KINDS.map(([kind]) => kind)

/** A complaint of a kernel's. */
export interface KernelReport {
  /** What the kernel complains of. */
  readonly kind: KernelReportKind
  /** The line that says it. */
  readonly title: string
  /** Its number in the log, from 1. */
  readonly line: number
  /** The report: from `cut here`, where there is such a line, to its end, at most 120 lines after the title. */
  readonly text: string
  /** The report, and the 20 lines before its title. */
  readonly log: string
}

const LINES_BEFORE = 20
const LINES_AFTER = 120
/** Further ones are counted only: a kernel that complains for ever says nothing new. */
const MAX_REPORTS = 100
/** What comes within a report of another kind, or of the same, and says what the processor did about it. */
const FOLLOW_UPS = new Set<KernelReportKind>(['oops', 'bug', 'warning'])
const END = /---\[ end |^={20,}$/

interface OpenReport {
  kind: KernelReportKind
  title: string
  line: number
  lines: string[]
  /** Where in `lines` the title is. */
  at: number
  left: number
}

/**
 * Recognizes panics, oopses, lockdep's and the sanitizers' reports, stalls and hung tasks in a kernel's log, line by line.
 * What a report says further (an oops after what KASAN found) belongs to it; the panic that follows is one of its own.
 */
export class KernelReportScanner {
  readonly #reports: KernelReport[] = []
  readonly #before: string[] = []
  #open: OpenReport | undefined
  #line = 0
  #count = 0

  /** Reports so far, those beyond the first 100 included. */
  get count(): number {
    return this.#count
  }

  /** Takes one line; returns the kind of report that it starts. */
  push(line: string): KernelReportKind | undefined {
    this.#line++
    const text = withoutPrintkPrefix(line)
    const kind = kindOf(text)
    const starts = kind !== undefined && (this.#open === undefined || !FOLLOW_UPS.has(kind))
    if (starts) this.#start(kind, text, line)
    else if (this.#open) this.#goOn(text, line)
    this.#before.push(line)
    if (this.#before.length > LINES_BEFORE) this.#before.shift()
    return starts ? kind : undefined
  }

  /** The reports so far, one that has not ended included; at most 100. */
  reports(): KernelReport[] {
    return this.#open ? [...this.#reports, finished(this.#open)] : [...this.#reports]
  }

  #start(kind: KernelReportKind, title: string, line: string): void {
    this.#close()
    this.#count++
    if (this.#count > MAX_REPORTS) return
    const lines = [...this.#before, line]
    const at = lines.length - 1
    this.#open = { kind, title, line: this.#line, lines, at, left: LINES_AFTER }
  }

  #goOn(text: string, line: string): void {
    const open = this.#open!
    open.lines.push(line)
    open.left--
    // lockdep and KASAN draw a line below what they start with, too.
    const ends = END.test(text) && this.#line > open.line + 2
    if (ends || open.left === 0) this.#close()
  }

  #close(): void {
    if (this.#open) this.#reports.push(finished(this.#open))
    this.#open = undefined
  }
}

/** The reports in a whole log: see {@link KernelReportScanner}. */
export function findKernelReports(log: string): KernelReport[] {
  const scanner = new KernelReportScanner()
  for (const line of splitLines(log)) scanner.push(line)
  return scanner.reports()
}

function kindOf(text: string): KernelReportKind | undefined {
  return KINDS.find(([, pattern]) => pattern.test(text))?.[0]
}

function finished({ kind, title, line, lines, at }: OpenReport): KernelReport {
  const start = lines.slice(0, at).findLastIndex((before) => before.includes('[ cut here ]'))
  const text = lines.slice(start < 0 ? at : start).join('\n')
  return { kind, title, line, text, log: lines.join('\n') }
}
