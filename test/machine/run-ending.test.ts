import { expect, it } from 'vitest'
import type { VcpuExit } from '../../lib/kvm/exit.js'
import { endingOfDeviceError, endingOfErrno, endingOfExit } from '../../lib/machine/run-ending.js'

const systemEvent = (
  event: 'shutdown' | 'reset' | 'crash' | 'wakeup' | 'sev-term' | 'unknown',
  type: number,
): VcpuExit => ({ reason: 'system-event', event, type, data: [0x1fn, 2n] })

const unsupported = { kind: 'kvm-error', error: { code: 'ERR_KVM_UNSUPPORTED' } }

it.each<[VcpuExit, object]>([
  [{ reason: 'shutdown' }, { kind: 'crash', cause: 'triple-fault' }],
  [systemEvent('shutdown', 1), { kind: 'shutdown' }],
  [systemEvent('reset', 2), { kind: 'reset' }],
  [
    systemEvent('crash', 3),
    { kind: 'crash', cause: 'system-event', detail: 'vCPU 3: system event 3 (crash) 0x1f 0x2' },
  ],
  [systemEvent('sev-term', 6), { kind: 'crash', cause: 'system-event' }],
  [systemEvent('wakeup', 4), unsupported],
  [systemEvent('unknown', 99), unsupported],
  [
    {
      reason: 'internal-error',
      suberror: 1,
      name: 'emulation',
      data: [1n, 0xabcn],
      instruction: Uint8Array.of(0x0f, 0x0b),
    },
    {
      kind: 'internal-error',
      suberror: 1,
      data: [1n, 0xabcn],
      detail: 'vCPU 3: KVM internal error 1 (emulation): 0x1 0xabc, instruction 0f0b',
    },
  ],
  [
    { reason: 'fail-entry', hardwareEntryFailureReason: 0x8000_0021n, cpu: 1 },
    {
      kind: 'fail-entry',
      hardwareEntryFailureReason: 0x8000_0021n,
      detail: 'vCPU 3: the processor refused to enter the guest, reason 0x80000021',
    },
  ],
  [{ reason: 'unknown', hardwareExitReason: 0x77n }, unsupported],
  [{ reason: 'other', number: 1234 }, unsupported],
  [{ reason: 'ioapic-eoi', vector: 0x30 }, unsupported],
])('an exit %o ends the machine', (exit, ending) => {
  const made = endingOfExit(3, exit, () => '')
  expect(made).toMatchObject({ ...ending, vcpu: 3 })
  expect(made.detail).toMatch(/^vCPU 3: /)
})

it('an exit that nobody handles is told whole', () => {
  const exit: VcpuExit = {
    reason: 'memory-fault',
    isPrivate: true,
    address: 0xfee0_0000n,
    size: 0x1000n,
    flags: 8n,
  }
  expect(endingOfExit(0, exit, () => '').detail).toContain('"address":"0xfee00000","size":"0x1000"')
})

it('a failed KVM_RUN is a KvmError', () => {
  expect(endingOfErrno(1, 14)).toEqual({
    kind: 'kvm-error',
    vcpu: 1,
    detail: 'KVM_RUN: EFAULT, vCPU 1',
    error: expect.objectContaining({ name: 'KvmError', code: 'EFAULT', errno: 14 }),
  })
})

it('what a device throws is the cause of an ERR_DEVICE', () => {
  const cause = new TypeError('no such register')
  expect(endingOfDeviceError('uart0: read', cause)).toMatchObject({
    kind: 'device-error',
    detail: 'uart0: read: no such register',
    error: { code: 'ERR_DEVICE', cause },
  })
  for (const odd of [undefined, null, Symbol('odd'), { toString: () => 'odd' }]) {
    expect(endingOfDeviceError('uart0: read', odd).kind).toBe('device-error')
  }
})

it.each<VcpuExit>([
  { reason: 'shutdown' },
  { reason: 'internal-error', suberror: 1, name: 'emulation', data: [] },
  { reason: 'fail-entry', hardwareEntryFailureReason: 1n, cpu: 0 },
])('where the vCPU was is told of $reason', (exit) => {
  expect(endingOfExit(0, exit, () => 'at RIP 0x1234').detail).toMatch(/,? at RIP 0x1234$/)
})
