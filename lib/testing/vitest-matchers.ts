// Types alone: nothing of vitest is loaded.
import type {} from 'vitest'
import { lastLines } from './boot-console.js'
import { type BootResult, failedTests, failureError } from './boot-result.js'
import type { KernelReportKind } from './kernel-reports.js'
import type { KtapReport } from './ktap.js'

interface Verdict {
  readonly pass: boolean
  readonly message: () => string
}

/** What the matchers add to `expect(…)`. */
export interface BootMatchers<R = unknown> {
  /** That a boot test passed: see {@link BootResult.ok}. */
  toBoot(): R
  /** That there were tests by KTAP, and that all passed. Takes a boot's result, or what `parseKtap` gives. */
  toHavePassedKtap(): R
  /** That the kernel complained of something, or of this kind of thing. Mostly after `.not`. */
  toHaveKernelReport(kind?: KernelReportKind): R
  /** That the log has this. */
  toHavePrinted(pattern: RegExp | string): R
}

/**
 * Matchers for vitest's `expect.extend` (and jest's).
 *
 * @example
 * ```ts
 * import { expect } from 'vitest'
 * import { bootMatchers } from 'node-kvm/testing/vitest'
 *
 * expect.extend(bootMatchers)
 * expect(await boot.result).toBoot()
 * ```
 */
export const bootMatchers = {
  /** See { @link BootMatchers.toBoot}. */
  toBoot(result: BootResult): Verdict {
    return {
      pass: result.ok,
      message: () =>
        result.ok ? `${result.name} booted without a failure` : failureError(result).message,
    }
  },

  /** See { @link BootMatchers.toHavePassedKtap}. */
  toHavePassedKtap(received: BootResult | KtapReport): Verdict {
    const { ok, tests, problems, counts } = 'ktap' in received ? received.ktap : received
    const failed = [...problems, ...failedTests(tests)]
    return {
      pass: ok,
      message: () => {
        if (ok) return `${counts.passed} tests passed, and none failed`
        return tests.length === 0 ? 'the log has no test by KTAP' : failed.join('\n')
      },
    }
  },

  /** See { @link BootMatchers.toHaveKernelReport}. */
  toHaveKernelReport(result: BootResult, kind?: KernelReportKind): Verdict {
    const found = result.reports.filter((report) => kind === undefined || report.kind === kind)
    return {
      pass: found.length > 0,
      message: () =>
        found.length === 0
          ? `${result.name}: the kernel has no ${kind ?? 'report'} in its log`
          : found.map(({ kind, title, log }) => `${kind}: ${title}\n${log}`).join('\n\n'),
    }
  },

  /** See { @link BootMatchers.toHavePrinted}. */
  toHavePrinted(result: BootResult, pattern: RegExp | string): Verdict {
    const found =
      typeof pattern === 'string'
        ? result.log.includes(pattern)
        : new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, '')).test(result.log)
    return {
      pass: found,
      message: () =>
        `${result.name} printed ${found ? '' : 'no '}${pattern}. The log ends:\n${lastLines(result.log)}`,
    }
  },
}

declare module 'vitest' {
  interface Matchers<T> extends BootMatchers<T> {}
}
