import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  findKernelReports,
  KERNEL_REPORT_KINDS,
  KernelReportScanner,
} from '../../lib/testing/kernel-reports.js'

const kinds = (log: string) => findKernelReports(log).map(({ kind }) => kind)

describe('a report of the kernel', () => {
  it.each([
    ['panic', '[    1.5] Kernel panic - not syncing: VFS: Unable to mount root fs'],
    ['kasan', '[    1.500000] BUG: KASAN: slab-out-of-bounds in kmalloc_oob_right+0x1a/0x2b'],
    ['kasan', 'BUG: KFENCE: use-after-free read in test_use_after_free_read+0xb1/0x143'],
    ['ubsan', 'UBSAN: array-index-out-of-bounds in lib/test_ubsan.c:108:3'],
    ['lockdep', 'WARNING: possible circular locking dependency detected'],
    ['lockdep', 'WARNING: possible recursive locking detected'],
    ['lockdep', 'WARNING: suspicious RCU usage'],
    ['lockdep', 'WARNING: inconsistent lock state'],
    ['lockdep', '[ BUG: Invalid wait context ]'],
    ['lockdep', 'INFO: trying to register non-static key.'],
    ['lockup', 'watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [sh:41]'],
    ['lockup', 'NMI watchdog: Watchdog detected hard LOCKUP on cpu 1'],
    ['rcu-stall', 'rcu: INFO: rcu_preempt self-detected stall on CPU'],
    ['rcu-stall', 'rcu: INFO: rcu_sched detected stalls on CPUs/tasks:'],
    ['hung-task', 'INFO: task khungtaskd:23 blocked for more than 122 seconds.'],
    ['oops', 'BUG: unable to handle page fault for address: ffffc90000a1b000'],
    ['oops', 'BUG: kernel NULL pointer dereference, address: 0000000000000000'],
    ['oops', 'Oops: 0002 [#1] PREEMPT SMP NOPTI'],
    ['oops', 'Oops: general protection fault, probably for non-canonical address: 0000'],
    ['oops', 'general protection fault, probably for non-canonical address 0xdead: 0000 [#1]'],
    ['oops', 'kernel BUG at mm/slub.c:448!'],
    ['memory-leak', 'kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)'],
    ['bug', 'BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580'],
    ['bug', 'BUG: scheduling while atomic: swapper/0/1/0x00000002'],
    ['warning', 'WARNING: CPU: 0 PID: 1 at kernel/rcu/tree.c:1 foo+0x1/0x2'],
    ['warning', '[    2.000000][    T1] WARNING: kernel/events/core.c:12 at foo+0x1/0x2, CPU#0'],
  ])('%s: %s', (kind, line) => {
    expect(kinds(`before\n${line}\nafter`)).toEqual([kind])
    expect(KERNEL_REPORT_KINDS).toContain(kind)
  })

  it.each([
    'Warning: unable to open an initial console.',
    'WARNING: something that a program says',
    'DEBUG: nothing',
    'lockdep: fine',
    'ACPI: INFO: task force',
    'panic=-1 oops=panic',
  ])('is not: %s', (line) => expect(kinds(line)).toEqual([]))

  it('comes with the log around it', () => {
    const before = Array.from({ length: 30 }, (_, i) => `line ${i + 1}`)
    const log = [
      ...before,
      '[    1.000000] BUG: unable to handle page fault for address: 0',
      '[    1.000000] Oops: 0002 [#1]',
      '[    1.000000] RIP: 0010:f+0x1',
      '[    1.000000] ---[ end trace 0000 ]---',
      'what follows',
    ]
    const [report, ...more] = findKernelReports(log.join('\n'))
    expect(more).toEqual([])
    expect(report).toMatchObject({
      kind: 'oops',
      line: 31,
      title: 'BUG: unable to handle page fault for address: 0',
    })
    expect(report!.log.split('\n')).toEqual(log.slice(10, 34))
  })

  it('starts where the kernel says so', () => {
    const log = [
      'before',
      '---[ cut here ]---',
      'refcount_t: underflow',
      'WARNING: CPU: 0 PID: 1 at x',
    ]
    const [report] = findKernelReports(log.join('\n').replaceAll('---', '------------'))
    expect(report!.text.split('\n').slice(1)).toEqual(log.slice(2))
    expect(report!.log.split('\n')).toHaveLength(4)
  })

  it('goes on past the line below its title', () => {
    const line = '='.repeat(66)
    const log = [
      'x',
      line,
      'BUG: KASAN: double-free in f',
      '-'.repeat(40),
      'Call Trace:',
      line,
      'y',
    ]
    expect(findKernelReports(log.join('\n'))[0]!.log.split('\n').at(-1)).toBe(line)
  })

  it('is followed by the panic that it leads to', () => {
    const log = 'Oops: 0000 [#1]\nRIP: f\nKernel panic - not syncing: Fatal exception\n'
    expect(kinds(log)).toEqual(['oops', 'panic'])
  })

  it('tells when it starts', () => {
    const scanner = new KernelReportScanner()
    expect(scanner.push('fine')).toBeUndefined()
    expect(scanner.push('Kernel panic - not syncing: x')).toBe('panic')
    expect(scanner.push('CPU: 0 PID: 1')).toBeUndefined()
    expect(scanner.count).toBe(1)
  })
})

it('whatever the log, reports are few and short', () => {
  const line = fc.oneof(
    fc.constantFrom('Kernel panic - not syncing: x', 'UBSAN: y', '---[ end', '='.repeat(30)),
    fc.string(),
  )
  fc.assert(
    fc.property(fc.array(line, { maxLength: 600 }), (log) => {
      const reports = findKernelReports(log.join('\n'))
      expect(reports.length).toBeLessThanOrEqual(101)
      for (const report of reports) expect(report.log.split('\n').length).toBeLessThanOrEqual(141)
    }),
  )
})

it('a kernel that never stops complaining is counted, and its first reports are kept', () => {
  const scanner = new KernelReportScanner()
  for (let i = 0; i < 1000; i++) scanner.push(`Kernel panic - not syncing: ${i}`)
  expect(scanner.count).toBe(1000)
  expect(scanner.reports()).toHaveLength(100)
})
