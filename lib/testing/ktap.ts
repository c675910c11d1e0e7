import { parseKtapLine } from './ktap-line.js'
import { splitLines } from './line-splitter.js'
import { withoutPrintkPrefix } from './printk.js'

/**
 * - `skipped`: by directive `SKIP`
 * - `expected-failure`: by directive `XFAIL` or `TODO`; counts as passed
 * - `failed`: also by the directives `TIMEOUT` and `ERROR`
 * - `incomplete`: it began and never came to a result
 */
export type KtapStatus = 'passed' | 'failed' | 'skipped' | 'expected-failure' | 'incomplete'

/** One test of a KTAP document, with the tests in it. */
export interface KtapTest {
  /** As the guest gave it; empty if it gave none. */
  readonly name: string
  /** As the document numbers it, from 1. `undefined` where it does not. */
  readonly number: number | undefined
  /** What came of it. */
  readonly status: KtapStatus
  /** What follows a directive. */
  readonly reason: string
  /** The lines before the result that are none of KTAP's: at most 200. */
  readonly diagnostics: readonly string[]
  /** In their order. */
  readonly subtests: readonly KtapTest[]
}

/** What a log says by KTAP. */
export interface KtapReport {
  /** The tests of the outermost level, of every document in the log. */
  readonly tests: readonly KtapTest[]
  /** Where the log breaks the format: a plan that was not kept, a test that was not finished, too deep a nesting. */
  readonly problems: readonly string[]
  /** Of the tests without tests in them. */
  readonly counts: Readonly<Record<KtapStatus, number>>
  /** Whether there is a document, every test has passed, and there are no problems. */
  readonly ok: boolean
}

interface Level {
  readonly indent: number
  name: string
  planned: number | undefined
  readonly tests: KtapTest[]
  text: string[]
}

const MAX_DEPTH = 16
const MAX_TESTS = 100_000
const MAX_PROBLEMS = 100
const MAX_TEXT_LINES = 200

/**
 * Reads KTAP, TAP 13 and 14, and what KUnit prints, line by line out of a kernel's log, whose time stamps may stand in
 * front and whose messages may come between. Whatever the log holds, it keeps at most 100,000 tests, nested 16 deep.
 *
 * The format: Documentation/dev-tools/ktap.rst of Linux.
 */
export class KtapParser {
  readonly #root: KtapTest[] = []
  readonly #problems: string[] = []
  #levels: Level[] = []
  #count = 0

  /** Takes one line, without its line feed. */
  push(line: string): void {
    const text = withoutPrintkPrefix(line)
    const body = text.trimStart()
    const indent = text.length - body.length
    const parsed = parseKtapLine(body)
    if (parsed.kind === 'version') {
      this.#open(indent)
      return
    }
    if (this.#levels.length === 0) return
    if (parsed.kind === 'text') {
      this.#note(parsed.text)
      return
    }
    const level = this.#levelOf(indent)
    if (level === undefined) return
    if (parsed.kind === 'result') {
      this.#result(level, parsed)
      return
    }
    this.#closeTo(level.indent)
    if (parsed.kind === 'plan') level.planned = parsed.count
    else level.name = parsed.name
  }

  /** What the lines so far say, as if there were no more. */
  report(): KtapReport {
    const rest = new KtapParser()
    rest.#root.push(...this.#root)
    rest.#problems.push(...this.#problems)
    rest.#levels = this.#levels.map((level) => ({ ...level, tests: [...level.tests] }))
    rest.#closeTo(-1)
    const counts = countTests(rest.#root)
    const ok =
      rest.#root.length > 0 &&
      rest.#problems.length === 0 &&
      counts.failed === 0 &&
      counts.incomplete === 0
    return { tests: rest.#root, problems: rest.#problems, counts, ok }
  }

  /** A version line starts a level, or at an indentation that has one, another document. */
  #open(indent: number): void {
    this.#closeTo(indent - 1)
    this.#push(indent)
  }

  #push(indent: number): Level | undefined {
    if (this.#levels.length === MAX_DEPTH) {
      this.#problem(`tests are nested deeper than ${MAX_DEPTH}`)
      return undefined
    }
    const level: Level = { indent, name: '', planned: undefined, tests: [], text: [] }
    this.#levels.push(level)
    return level
  }

  /** The level of a line, with at most one deeper left, to be summed up. Old kernels start one without a version line. */
  #levelOf(indent: number): Level | undefined {
    const at = Math.max(
      0,
      this.#levels.findLastIndex((level) => level.indent <= indent),
    )
    while (this.#levels.length > at + 2) this.#abandon()
    const level = this.#levels[at]!
    if (level.indent >= indent) return level
    return this.#levels[at + 1] ?? this.#push(indent)
  }

  #result(level: Level, line: ReturnType<typeof parseKtapLine> & { kind: 'result' }): void {
    const inner = this.#levels.at(-1) === level ? undefined : this.#levels.pop()
    if (inner) this.#checkPlan(inner)
    const { kind: _, ...result } = line
    const diagnostics = [...(inner?.text ?? []), ...level.text].slice(0, MAX_TEXT_LINES)
    level.text = []
    this.#add(level, { ...result, diagnostics, subtests: inner?.tests ?? [] })
    const expected = level.tests.length
    if (line.number !== undefined && line.number !== expected && expected < MAX_TESTS) {
      this.#problem(`test '${line.name}' is number ${line.number}, where ${expected} was due`)
    }
  }

  #add(level: Level, test: KtapTest): void {
    if (this.#count === MAX_TESTS) {
      this.#problem(`there are more than ${MAX_TESTS} tests`)
      return
    }
    this.#count++
    level.tests.push(test)
  }

  /** Ends every level whose indentation is above `indent`. */
  #closeTo(indent: number): void {
    while (this.#levels.length > 0 && this.#levels.at(-1)!.indent > indent) {
      if (this.#levels.length > 1) {
        this.#abandon()
        continue
      }
      const level = this.#levels.pop()!
      this.#checkPlan(level)
      this.#root.push(...level.tests)
    }
  }

  /** The deepest level ends without the result line that should sum it up. */
  #abandon(): void {
    const level = this.#levels.pop()!
    const outer = this.#levels.at(-1)!
    this.#checkPlan(level)
    this.#problem(`${nameOf(level)} has no result`)
    this.#add(outer, {
      name: level.name || 'unnamed',
      number: undefined,
      status: 'incomplete',
      reason: '',
      diagnostics: level.text,
      subtests: level.tests,
    })
  }

  #checkPlan({ planned, tests, ...level }: Level): void {
    if (planned !== undefined && planned !== tests.length) {
      this.#problem(
        `${nameOf({ ...level, planned, tests })}: planned ${planned}, got ${tests.length}`,
      )
    }
  }

  #note(text: string): void {
    const level = this.#levels.at(-1)!
    if (text !== '' && level.text.length < MAX_TEXT_LINES) level.text.push(text)
  }

  #problem(what: string): void {
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push(what)
  }
}

/** Reads a whole log: see {@link KtapParser}. */
export function parseKtap(log: string): KtapReport {
  const parser = new KtapParser()
  for (const line of splitLines(log)) parser.push(line)
  return parser.report()
}

const nameOf = (level: Level) => (level.name === '' ? 'the document' : `suite '${level.name}'`)

/** A test that failed though every test in it passed counts as one more. */
function countTests(tests: readonly KtapTest[]): Record<KtapStatus, number> {
  const counts = { passed: 0, failed: 0, skipped: 0, 'expected-failure': 0, incomplete: 0 }
  const visit = (test: KtapTest) => {
    const before = counts.failed + counts.incomplete
    for (const subtest of test.subtests) visit(subtest)
    const isBad = test.status === 'failed' || test.status === 'incomplete'
    const isSilent = isBad && counts.failed + counts.incomplete === before
    if (test.subtests.length === 0 || isSilent) counts[test.status]++
  }
  for (const test of tests) visit(test)
  return counts
}
