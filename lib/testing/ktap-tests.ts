import { failedTests } from './boot-result.js'
import type { KtapReport, KtapTest } from './ktap.js'

/** What of a test runner is needed here; vitest's, node:test's, mocha's and jest's functions are such. */
export interface TestRunner {
  /** Defines a group. */
  describe(name: string, define: () => void): unknown
  /** Defines a test, or one that is skipped. */
  it: {
    (name: string, run: () => void): unknown
    skip(name: string, run?: () => void): unknown
  }
}

/**
 * Makes a test of the runner's own of each test that a guest has reported, so that each has its line in the runner's
 * output and in its JUnit file. To be called where tests are defined.
 *
 * @example
 * ```ts
 * import { describe, it } from 'vitest'
 * import { bootTest, ktapTests } from 'node-kvm/testing'
 *
 * const boot = await bootTest({ kernel: 'bzImage', commandLine: 'console=ttyS0 kunit.enable=1' })
 * ktapTests((await boot.result).ktap, { describe, it })
 * ```
 */
export function ktapTests(report: KtapReport, runner: TestRunner): void {
  for (const test of report.tests) define(test, runner)
  if (report.tests.length > 0 && report.problems.length === 0) return
  runner.it('reports by KTAP', () => {
    const problems = report.tests.length === 0 ? ['the log has no test'] : report.problems
    throw new Error(problems.join('\n'))
  })
}

function define(test: KtapTest, runner: TestRunner): void {
  const { name, status, reason, subtests } = test
  const title = name || `test ${test.number ?? ''}`
  if (subtests.length > 0) {
    runner.describe(title, () => {
      for (const subtest of subtests) define(subtest, runner)
      const silent = failedTests(subtests).length === 0 ? failedTests([test]) : []
      if (silent.length > 0) runner.it('as a whole', () => fail(silent))
    })
  } else if (status === 'skipped') {
    runner.it.skip(reason === '' ? title : `${title} (${reason})`, () => {})
  } else {
    runner.it(title, () => fail(failedTests([test])))
  }
}

function fail(messages: readonly string[]): void {
  if (messages.length > 0) throw new Error(messages.join('\n'))
}
