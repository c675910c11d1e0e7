import { describe, expect, it } from 'vitest'
import * as abi from '../../lib/kvm/abi/exits.js'
import { KvmRun } from '../../lib/kvm/abi/run.js'
import type { VcpuExit } from '../../lib/kvm/exit.js'
import { RunPage } from '../../lib/kvm/run-page.js'
import type { InitOfStruct } from '../../lib/util/struct.js'

/** A run page as the kernel would leave it. */
function pageOf(run: InitOfStruct<typeof KvmRun>): RunPage {
  const page = new RunPage(new ArrayBuffer(3 * 4096))
  page.bytes.fill(0xee, 32, 288)
  new KvmRun(page.bytes).assign(run as object)
  return page
}

const all = (value: bigint, count: number) => Array.from({ length: count }, () => value)

const cases: [name: string, run: InitOfStruct<typeof KvmRun>, exit: VcpuExit][] = [
  [
    'UNKNOWN',
    { exit_reason: abi.KVM_EXIT_UNKNOWN, hw: { hardware_exit_reason: 77n } },
    { reason: 'unknown', hardwareExitReason: 77n },
  ],
  [
    'EXCEPTION',
    { exit_reason: abi.KVM_EXIT_EXCEPTION, ex: { exception: 13, error_code: 8 } },
    { reason: 'exception', exception: 13, errorCode: 8 },
  ],
  [
    'HYPERCALL',
    {
      exit_reason: abi.KVM_EXIT_HYPERCALL,
      hypercall: { nr: 12n, args: [1n, 2n, 3n, 4n, 5n, 6n], flags: 1n },
    },
    { reason: 'hypercall', number: 12n, args: [1n, 2n, 3n, 4n, 5n, 6n], longMode: true },
  ],
  [
    'DEBUG',
    {
      exit_reason: abi.KVM_EXIT_DEBUG,
      debug: { exception: 1, pc: 0x1000n, dr6: 0x4000n, dr7: 0x400n },
    },
    { reason: 'debug', exception: 1, pc: 0x1000n, dr6: 0x4000n, dr7: 0x400n },
  ],
  ['HLT', { exit_reason: abi.KVM_EXIT_HLT }, { reason: 'hlt' }],
  ['IRQ_WINDOW_OPEN', { exit_reason: abi.KVM_EXIT_IRQ_WINDOW_OPEN }, { reason: 'irq-window-open' }],
  ['SHUTDOWN', { exit_reason: abi.KVM_EXIT_SHUTDOWN }, { reason: 'shutdown' }],
  [
    'FAIL_ENTRY',
    {
      exit_reason: abi.KVM_EXIT_FAIL_ENTRY,
      fail_entry: { hardware_entry_failure_reason: 0x8000_0021n, cpu: 3 },
    },
    { reason: 'fail-entry', hardwareEntryFailureReason: 0x8000_0021n, cpu: 3 },
  ],
  ['INTR', { exit_reason: abi.KVM_EXIT_INTR }, { reason: 'interrupted' }],
  ['SET_TPR', { exit_reason: abi.KVM_EXIT_SET_TPR, cr8: 5n }, { reason: 'set-tpr', cr8: 5n }],
  [
    'TPR_ACCESS',
    { exit_reason: abi.KVM_EXIT_TPR_ACCESS, tpr_access: { rip: 0x7c00n, is_write: 1 } },
    { reason: 'tpr-access', rip: 0x7c00n, isWrite: true },
  ],
  ['NMI', { exit_reason: abi.KVM_EXIT_NMI }, { reason: 'nmi' }],
  [
    'INTERNAL_ERROR',
    {
      exit_reason: abi.KVM_EXIT_INTERNAL_ERROR,
      internal: { suberror: 3, ndata: 2, data: [9n, 8n] },
    },
    { reason: 'internal-error', suberror: 3, name: 'delivery-event', data: [9n, 8n] },
  ],
  [
    'INTERNAL_ERROR with more words than there is room for',
    {
      exit_reason: abi.KVM_EXIT_INTERNAL_ERROR,
      internal: { suberror: 9, ndata: 0xffff_ffff, data: all(1n, 16) },
    },
    { reason: 'internal-error', suberror: 9, name: 'unknown', data: all(1n, 16) },
  ],
  [
    'INTERNAL_ERROR of the emulator',
    {
      exit_reason: abi.KVM_EXIT_INTERNAL_ERROR,
      emulation_failure: {
        suberror: 1,
        ndata: 3,
        flags: 1n,
        insn_size: 3,
        insn_bytes: Uint8Array.of(0x0f, 0x0b, 0x90, 0xcc),
      },
    },
    {
      reason: 'internal-error',
      suberror: 1,
      name: 'emulation',
      data: [1n, 0x0000_00cc_900b_0f03n, 0n],
      instruction: Uint8Array.of(0x0f, 0x0b, 0x90),
    },
  ],
  [
    'SYSTEM_EVENT',
    { exit_reason: abi.KVM_EXIT_SYSTEM_EVENT, system_event: { type: 2, ndata: 1, data: [4n] } },
    { reason: 'system-event', type: 2, event: 'reset', data: [4n] },
  ],
  [
    'IOAPIC_EOI',
    { exit_reason: abi.KVM_EXIT_IOAPIC_EOI, eoi: { vector: 0x31 } },
    { reason: 'ioapic-eoi', vector: 0x31 },
  ],
  [
    'HYPERV synic',
    {
      exit_reason: abi.KVM_EXIT_HYPERV,
      hyperv: { type: 1, synic: { msr: 1, control: 2n, evt_page: 3n, msg_page: 4n } },
    },
    { reason: 'hyperv', type: 'synic', msr: 1, control: 2n, evtPage: 3n, msgPage: 4n },
  ],
  [
    'HYPERV hcall',
    {
      exit_reason: abi.KVM_EXIT_HYPERV,
      hyperv: { type: 2, hcall: { input: 1n, params: [2n, 3n] } },
    },
    { reason: 'hyperv', type: 'hcall', input: 1n, params: [2n, 3n] },
  ],
  [
    'HYPERV syndbg',
    {
      exit_reason: abi.KVM_EXIT_HYPERV,
      hyperv: {
        type: 3,
        syndbg: { msr: 1, control: 2n, status: 3n, send_page: 4n, recv_page: 5n, pending_page: 6n },
      },
    },
    {
      reason: 'hyperv',
      type: 'syndbg',
      msr: 1,
      control: 2n,
      status: 3n,
      sendPage: 4n,
      recvPage: 5n,
      pendingPage: 6n,
    },
  ],
  [
    'HYPERV of a new kind',
    { exit_reason: abi.KVM_EXIT_HYPERV, hyperv: { type: 99 } },
    { reason: 'hyperv', type: 'unknown', number: 99 },
  ],
  [
    'X86_RDMSR',
    { exit_reason: abi.KVM_EXIT_X86_RDMSR, msr: { reason: 2, index: 0xc001_0015, data: 0n } },
    { reason: 'rdmsr', index: 0xc001_0015, data: 0n, cause: 'unknown' },
  ],
  [
    'X86_WRMSR',
    {
      exit_reason: abi.KVM_EXIT_X86_WRMSR,
      msr: { reason: 4, index: 0x10, data: 0xffff_ffff_ffff_ffffn },
    },
    { reason: 'wrmsr', index: 0x10, data: 0xffff_ffff_ffff_ffffn, cause: 'filter' },
  ],
  ['DIRTY_RING_FULL', { exit_reason: abi.KVM_EXIT_DIRTY_RING_FULL }, { reason: 'dirty-ring-full' }],
  ['AP_RESET_HOLD', { exit_reason: abi.KVM_EXIT_AP_RESET_HOLD }, { reason: 'ap-reset-hold' }],
  ['X86_BUS_LOCK', { exit_reason: abi.KVM_EXIT_X86_BUS_LOCK }, { reason: 'bus-lock' }],
  [
    'XEN',
    {
      exit_reason: abi.KVM_EXIT_XEN,
      xen: {
        type: 1,
        hcall: { longmode: 1, cpl: 3, input: 17n, params: [1n, 2n, 3n, 4n, 5n, 6n] },
      },
    },
    {
      reason: 'xen',
      type: 1,
      longMode: true,
      cpl: 3,
      input: 17n,
      params: [1n, 2n, 3n, 4n, 5n, 6n],
    },
  ],
  [
    'NOTIFY',
    { exit_reason: abi.KVM_EXIT_NOTIFY, notify: { flags: 1 } },
    { reason: 'notify', contextInvalid: true },
  ],
  [
    'MEMORY_FAULT',
    {
      exit_reason: abi.KVM_EXIT_MEMORY_FAULT,
      memory_fault: { flags: 8n, gpa: 0x1_0000_0000n, size: 4096n },
    },
    { reason: 'memory-fault', isPrivate: true, address: 0x1_0000_0000n, size: 4096n, flags: 8n },
  ],
  [
    'TDX',
    { exit_reason: abi.KVM_EXIT_TDX, tdx: { flags: 0n, nr: 0x10002n, data: [1n, 2n, 3n, 4n, 5n] } },
    { reason: 'tdx', flags: 0n, number: 0x10002n, data: [1n, 2n, 3n, 4n, 5n] },
  ],
  [
    'SNP_REQ_CERTS',
    { exit_reason: abi.KVM_EXIT_SNP_REQ_CERTS, snp_req_certs: { gpa: 0x5000n, npages: 3n } },
    { reason: 'snp-req-certs', address: 0x5000n, pages: 3n },
  ],
  [
    'one of another architecture',
    { exit_reason: abi.KVM_EXIT_ARM_SEA },
    { reason: 'other', number: 41 },
  ],
  ['one yet to come', { exit_reason: 0xffff_ffff }, { reason: 'other', number: 0xffff_ffff }],
]

describe('RunPage.exit()', () => {
  it.each(cases)('decodes KVM_EXIT_%s', (_, run, exit) => {
    expect(pageOf(run).exit()).toEqual(exit)
  })

  it('has a case here for every exit of x86-64', () => {
    const others = /S390|PAPR|OSI|DCR|WATCHDOG|EPR|ARM|RISCV|LOONGARCH|HYPERV_|XEN_|IO_|HYPERCALL_/
    const inOwnTests = ['KVM_EXIT_IO', 'KVM_EXIT_MMIO']
    const names = Object.entries(abi).filter(
      ([name]) => name.startsWith('KVM_EXIT_') && !others.test(name),
    )
    const covered = new Set(cases.map(([, run]) => (run as { exit_reason: number }).exit_reason))
    const missing = names.flatMap(([name, number]) => (covered.has(Number(number)) ? [] : [name]))
    expect(missing).toEqual(inOwnTests)
  })

  it('decodes port accesses of every size, with live data', () => {
    const page = pageOf({
      exit_reason: abi.KVM_EXIT_IO,
      io: { direction: 0, size: 2, port: 0xcf8, count: 3, data_offset: 4096n },
    })
    const exit = page.exit()
    expect(exit).toEqual({
      reason: 'io',
      direction: 'in',
      port: 0xcf8,
      size: 2,
      count: 3,
      data: new Uint8Array(6),
    })
    page.setIoData(0x1_2345, 1)
    expect((exit as { data: Uint8Array }).data).toEqual(Uint8Array.of(0, 0, 0x45, 0x23, 0, 0))
    expect([page.ioData(0), page.ioData(1)]).toEqual([0, 0x2345])
  })

  it('keeps to the page whatever the kernel says of the data', () => {
    const page = pageOf({
      exit_reason: abi.KVM_EXIT_IO,
      io: { direction: 1, size: 4, port: 1, count: 0xffff_ffff, data_offset: 12_286n },
    })
    expect((page.exit() as { data: Uint8Array }).data.length).toBe(2)
    const mmio = pageOf({
      exit_reason: abi.KVM_EXIT_MMIO,
      mmio: { phys_addr: 0xffff_ffff_ffff_fff0n, len: 99, is_write: 1 },
    })
    expect(mmio.exit()).toMatchObject({
      address: 0xffff_ffff_ffff_fff0n,
      direction: 'write',
      data: new Uint8Array(8).fill(0xee),
    })
  })
})

describe('RunPage in place', () => {
  it('reads and writes what the layout says', () => {
    const page = new RunPage(new ArrayBuffer(3 * 4096))
    const { struct } = page
    page.immediateExit = true
    page.requestInterruptWindow = true
    page.cr8 = 7n
    page.apicBase = 0xfee0_0900n
    page.exitReason = abi.KVM_EXIT_MMIO
    expect(struct.immediate_exit).toBe(1)
    expect(struct.request_interrupt_window).toBe(1)
    expect([struct.cr8, struct.apic_base, struct.exit_reason]).toEqual([7n, 0xfee0_0900n, 6])
    struct.assign({ ready_for_interrupt_injection: 1, if_flag: 1, flags: 3 })
    expect([page.readyForInterruptInjection, page.ifFlag, page.flags]).toEqual([true, true, 3])
    page.immediateExit = false
    expect([page.immediateExit, struct.immediate_exit]).toEqual([false, 0])
  })

  it('answers MSRs, hypercalls and MMIO reads where KVM looks for the answer', () => {
    const page = new RunPage(new ArrayBuffer(3 * 4096))
    page.msrData = 0x1234n
    page.msrError = true
    expect(page.struct.msr.toObject()).toMatchObject({ error: 1, data: 0x1234n })
    page.hypercallResult = 0xffn
    expect(page.struct.hypercall.ret).toBe(0xffn)
    page.mmioData64 = 0x1122_3344_5566_7788n
    expect([...page.struct.mmio.data]).toEqual([0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11])
    page.mmioData = 0xffff_ffff
    expect([...page.struct.mmio.data]).toEqual([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])
  })
})
