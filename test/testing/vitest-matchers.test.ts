import { expect, it } from 'vitest'
import { judge } from '../../lib/testing/boot-result.js'
import { findKernelReports } from '../../lib/testing/kernel-reports.js'
import { parseKtap } from '../../lib/testing/ktap.js'
import { ktapTests } from '../../lib/testing/ktap-tests.js'
import type { BootResult } from '../../lib/testing.js'
import { bootMatchers } from '../../lib/vitest.js'

expect.extend(bootMatchers)

function resultOf(log: string): BootResult {
  const outcome = {
    name: 'boot',
    reason: { kind: 'shutdown' } as const,
    exitCode: undefined,
    log,
    logDropped: 0,
    reports: findKernelReports(log),
    ktap: parseKtap(log),
    allow: [],
    interrupted: undefined,
  }
  const failures = judge(outcome)
  return { ...outcome, failures, ok: failures.length === 0, logFile: undefined }
}

const FINE = resultOf('hello\nKTAP version 1\n1..1\nok 1 a\n')
const BAD = resultOf('KTAP version 1\n1..1\nnot ok 1 a\nUBSAN: shift in x.c\n')

it('toBoot tells of every failure, with its line', () => {
  expect(FINE).toBoot()
  expect(() => expect(BAD).toBoot()).toThrow(
    /boot: report: ubsan in line 4[\s\S]*boot: ktap: a: failed/,
  )
  expect(() => expect(FINE).not.toBoot()).toThrow('booted without a failure')
})

it('toHavePassedKtap names the tests that failed, and fails without any', () => {
  expect(FINE).toHavePassedKtap()
  expect(FINE.ktap).toHavePassedKtap()
  expect(() => expect(BAD).toHavePassedKtap()).toThrow('a: failed')
  expect(() => expect(resultOf('nothing')).toHavePassedKtap()).toThrow('no test by KTAP')
})

it('toHaveKernelReport takes a kind, and shows what it found', () => {
  expect(FINE).not.toHaveKernelReport()
  expect(BAD).toHaveKernelReport('ubsan')
  expect(BAD).not.toHaveKernelReport('panic')
  expect(() => expect(BAD).not.toHaveKernelReport()).toThrow('shift in x.c')
})

it('toHavePrinted takes a text or a pattern, and shows what was printed', () => {
  expect(FINE).toHavePrinted('hello')
  expect(FINE).toHavePrinted(/^HEL/gim)
  expect(() => expect(FINE).toHavePrinted('bye')).toThrow('hello')
})

it('ktapTests makes a test of each', () => {
  const made: string[] = []
  const path: string[] = []
  const note = (kind: string) => (name: string, run?: () => void) => {
    let result = kind
    try {
      run?.()
    } catch {
      result = 'fails'
    }
    made.push(`${[...path, name].join('/')}: ${result}`)
  }
  const runner = {
    describe: (name: string, define: () => void) => {
      path.push(name)
      define()
      path.pop()
    },
    it: Object.assign(note('passes'), { skip: note('is skipped') }),
  }
  const log = `KTAP version 1
1..4
  KTAP version 1
  ok 1 a
  not ok 2 b
not ok 1 suite
  KTAP version 1
  ok 1 c
not ok 2 silent
ok 3 d # SKIP why
not ok 5 e # XFAIL
`
  ktapTests(parseKtap(log), runner)
  expect(made).toEqual([
    'suite/a: passes',
    'suite/b: fails',
    'silent/c: passes',
    'silent/as a whole: fails',
    'd (why): is skipped',
    'e: passes',
    'reports by KTAP: fails',
  ])
})
