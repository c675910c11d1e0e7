import { expect, it } from 'vitest'
import type { VcpuFd } from '../../lib/kvm.js'
import { crashSite } from '../../lib/machine/crash-site.js'
import { payload, tinyVm, toProtectedMode } from '../helpers/payloads.js'

function place(vcpu: VcpuFd, codeBase: bigint, rip: bigint): void {
  const sregs = vcpu.getSregs()
  sregs.cs.base = codeBase
  sregs.cs.selector = Number((codeBase >> 4n) & 0xffffn)
  vcpu.setSregs(sregs)
  const regs = vcpu.getRegs()
  regs.rip = rip
  regs.rsp = 0x8000n
  vcpu.setRegs(regs)
}

it("tells a vCPU's instruction pointer, stack and paging", () => {
  using tiny = tinyVm(payload.outByte(0x10, 0x41))
  toProtectedMode(tiny.vcpu)
  const sregs = tiny.vcpu.getSregs()
  sregs.cr2 = 0xdead_b000n
  sregs.cr3 = 0x5000n
  tiny.vcpu.setSregs(sregs)
  place(tiny.vcpu, 0n, 0x1234n)
  expect(crashSite(tiny.vcpu)).toMatch(
    /^at RIP 0x1234, RSP 0x8000, CR0 0x[0-9a-f]+, CR2 0xdeadb000, CR3 0x5000, CR4 0x0, EFER 0x0$/,
  )
})

it("tells a code segment's base where there is one", () => {
  using tiny = tinyVm(payload.outByte(0x10, 0x41))
  place(tiny.vcpu, 0xf000n, 0x10n)
  expect(crashSite(tiny.vcpu)).toMatch(/^at CS base 0xf000, RIP 0x10, RSP 0x8000, /)
})

it('tells nothing of a vCPU that KVM has reset', () => {
  using tiny = tinyVm(payload.outByte(0x10, 0x41))
  place(tiny.vcpu, 0xffff_0000n, 0xfff0n)
  expect(crashSite(tiny.vcpu)).toBe('')
})

it('tells nothing of a vCPU that cannot be read', () => {
  using tiny = tinyVm(payload.outByte(0x10, 0x41))
  tiny.vcpu.close()
  expect(crashSite(tiny.vcpu)).toBe('')
})
