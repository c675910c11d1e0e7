import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { KtapParser, type KtapTest, parseKtap } from '../../lib/testing/ktap.js'

const lines = (...text: string[]) => `${text.join('\n')}\n`
/** Names and statuses, nested. */
const shape = (tests: readonly KtapTest[]): unknown[] =>
  tests.map(({ name, status, subtests }) =>
    subtests.length > 0 ? [name, status, shape(subtests)] : [name, status],
  )

/** As the kernel's documentation has it. */
const NESTED = lines(
  'KTAP version 1',
  '1..2',
  '  KTAP version 1',
  '  1..2',
  '  ok 1 test_1',
  '  # a remark',
  '  not ok 2 test_2',
  'not ok 1 main_1',
  'ok 2 - main_2 # SKIP no such hardware',
)

const KUNIT = lines(
  '[    0.060000] KTAP version 1',
  '[    0.060000] 1..1',
  '[    0.061000]     KTAP version 1',
  '[    0.061000]     # Subtest: example',
  '[    0.062000]     1..3',
  '[    0.063000] a message of a driver',
  '[    0.064000]     # example_simple_test: initializing',
  '[    0.065000]     ok 1 example_simple_test',
  '[    0.066000]     # example_skip_test: EXPECTATION FAILED at lib/kunit/x.c:29',
  '[    0.066000]     Expected 1 + 1 == 3, but',
  '[    0.067000]     not ok 2 example_sum',
  '[    0.068000]     ok 3 example_mark_skipped_test # SKIP this test should be skipped',
  '[    0.069000] # example: pass:1 fail:1 skip:1 total:3',
  '[    0.070000] not ok 1 example',
)

describe('parseKtap', () => {
  it('reads nested tests', () => {
    const report = parseKtap(NESTED)
    expect(shape(report.tests)).toEqual([
      [
        'main_1',
        'failed',
        [
          ['test_1', 'passed'],
          ['test_2', 'failed'],
        ],
      ],
      ['main_2', 'skipped'],
    ])
    expect(report.tests[1]!.reason).toBe('no such hardware')
    expect(report.tests[0]!.subtests[1]!.diagnostics).toEqual(['# a remark'])
    expect(report.problems).toEqual([])
    expect(report.counts).toMatchObject({ passed: 1, failed: 1, skipped: 1 })
    expect(report.ok).toBe(false)
  })

  it("reads KUnit's out of a kernel's log", () => {
    const report = parseKtap(KUNIT)
    expect(shape(report.tests)).toEqual([
      [
        'example',
        'failed',
        [
          ['example_simple_test', 'passed'],
          ['example_sum', 'failed'],
          ['example_mark_skipped_test', 'skipped'],
        ],
      ],
    ])
    expect(report.tests[0]!.subtests[1]!.diagnostics).toContain('Expected 1 + 1 == 3, but')
    expect(report.problems).toEqual([])
  })

  it('reads old KUnit, which nests without a version line', () => {
    const log = lines(
      'TAP version 14',
      '    # Subtest: suite',
      '    1..1',
      '    ok 1 - case',
      'ok 1 - suite',
    )
    const report = parseKtap(log)
    expect(shape(report.tests)).toEqual([['suite', 'passed', [['case', 'passed']]]])
    expect(report.ok).toBe(true)
  })

  it.each([
    ['ok 1 a', 'passed', 'a', ''],
    ['ok 1 - a', 'passed', 'a', ''],
    ['ok', 'passed', '', ''],
    ['not ok 1 a', 'failed', 'a', ''],
    ['not ok 1 a # TODO later', 'expected-failure', 'a', 'later'],
    ['ok 1 a # XFAIL as known', 'expected-failure', 'a', 'as known'],
    ['not ok 1 a # TIMEOUT 45 seconds', 'failed', 'a', '45 seconds'],
    ['ok 1 a #1 of 2', 'passed', 'a #1 of 2', ''],
    ['ok 1 # skip', 'skipped', '', ''],
    ['ok 1 __proto__ # constructor x', 'passed', '__proto__ # constructor x', ''],
  ])('%s', (line, status, name, reason) => {
    const { tests } = parseKtap(lines('KTAP version 1', line))
    expect(tests).toMatchObject([{ status, name, reason }])
  })

  it.each([
    ['a plan that was not kept', ['1..3', 'ok 1 a'], 'planned 3, got 1'],
    ['a wrong number', ['ok 2 a'], 'number 2, where 1 was due'],
    ['a suite that was not finished', ['  KTAP version 1', '  ok 1 a'], 'no result'],
  ])('tells of %s', (_, log, problem) => {
    const report = parseKtap(lines('KTAP version 1', ...log))
    expect(report.problems.join()).toContain(problem)
    expect(report.ok).toBe(false)
  })

  it('takes a suite that a crash cut short for incomplete', () => {
    const log = NESTED.slice(0, NESTED.indexOf('not ok 1'))
    expect(shape(parseKtap(log).tests)).toEqual([
      [
        'unnamed',
        'incomplete',
        [
          ['test_1', 'passed'],
          ['test_2', 'failed'],
        ],
      ],
    ])
  })

  it('adds up several documents', () => {
    const log = lines('KTAP version 1', '1..1', 'ok 1 a', 'TAP version 13', '1..1', 'ok 1 b')
    expect(parseKtap(log)).toMatchObject({ ok: true, counts: { passed: 2 } })
  })

  it('sees no test before a version line', () => {
    expect(parseKtap(lines('ok 1 a', '1..4'))).toMatchObject({ ok: false, tests: [] })
  })

  it('counts a suite that failed though its tests passed', () => {
    const log = lines('KTAP version 1', '  KTAP version 1', '  ok 1 a', 'not ok 1 suite')
    expect(parseKtap(log).counts).toMatchObject({ passed: 1, failed: 1 })
  })

  it('reports what there is so far, and goes on', () => {
    const parser = new KtapParser()
    parser.push('KTAP version 1')
    parser.push('  KTAP version 1')
    parser.push('  ok 1 a')
    expect(parser.report().counts).toMatchObject({ passed: 1, incomplete: 1 })
    expect(parser.report().ok).toBe(false)
    parser.push('ok 1 suite')
    expect(parser.report()).toMatchObject({ ok: true, problems: [] })
  })
})

describe('whatever a guest prints', () => {
  const words = ['KTAP version 1', 'TAP version 14', '1..3', 'ok 1 a', 'not ok 2', '# Subtest: s']
  const line = fc.oneof(
    fc
      .tuple(fc.nat({ max: 70 }), fc.constantFrom(...words))
      .map(([n, text]) => ' '.repeat(n) + text),
    fc.string(),
    fc.string({ unit: 'binary', maxLength: 40 }).map((text) => `[    1.000000] ${text}`),
  )

  it('never throws, and stays within the bounds', () => {
    fc.assert(
      fc.property(fc.array(line, { maxLength: 300 }), (log) => {
        const { problems, tests, counts } = parseKtap(log.join('\n'))
        expect(problems.length).toBeLessThanOrEqual(100)
        const depth = (list: readonly KtapTest[]): number =>
          list.length === 0 ? 0 : 1 + Math.max(...list.map(({ subtests }) => depth(subtests)))
        expect(depth(tests)).toBeLessThanOrEqual(16)
        const sum = Object.values(counts).reduce((a, b) => a + b)
        expect(sum).toBeLessThanOrEqual(log.length)
      }),
    )
  })

  it('is read the same with time stamps', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...words, '  ok 1 b', '  1..1')), (log) => {
        const stamped = log.map((text) => `<6>[   12.345678][    T1] ${text}`)
        expect(parseKtap(stamped.join('\n'))).toEqual(parseKtap(log.join('\n')))
      }),
    )
  })

  it('counts what was written by the rules', () => {
    const leaf = fc.constantFrom('ok', 'not ok')
    fc.assert(
      fc.property(fc.array(fc.array(leaf, { minLength: 1 }), { minLength: 1 }), (suites) => {
        const text = [
          'KTAP version 1',
          `1..${suites.length}`,
          ...suites.flatMap((tests, suite) => [
            '  KTAP version 1',
            `  1..${tests.length}`,
            ...tests.map((result, index) => `  ${result} ${index + 1} test${index}`),
            `${tests.includes('not ok') ? 'not ok' : 'ok'} ${suite + 1} suite${suite}`,
          ]),
        ]
        const all = suites.flat()
        const failed = all.filter((result) => result === 'not ok').length
        expect(parseKtap(text.join('\n'))).toMatchObject({
          problems: [],
          ok: failed === 0,
          counts: { passed: all.length - failed, failed },
        })
      }),
    )
  })

  it('keeps at most 100,000 tests', () => {
    const parser = new KtapParser()
    parser.push('KTAP version 1')
    for (let i = 1; i <= 100_010; i++) parser.push(`ok ${i} t`)
    expect(parser.report().tests).toHaveLength(100_000)
    expect(parser.report().ok).toBe(false)
  })
})
