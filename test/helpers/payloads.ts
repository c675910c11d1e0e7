import {
  createGuestMemory,
  KVM_EXIT_INTR,
  Kvm,
  type MappedGuestMemory,
  type VcpuFd,
  type VmFd,
} from '../../lib/kvm.js'

/** A VM with one vCPU in flat real mode, its code at 0x1000, 64 KiB of memory. */
export interface TinyVm extends Disposable {
  kvm: Kvm
  vm: VmFd
  vcpu: VcpuFd
  memory: MappedGuestMemory
}

export interface TinyVmOptions {
  /** Done after the VM is made and before the vCPU. */
  prepare?: (vm: VmFd) => void
  canaries?: boolean
  size?: number
}

export const CODE = 0x1000

let anchor: unknown

/**
 * Keeps one VM with a vCPU open for as long as the process lives. The first VM and the last make KVM patch the running
 * kernel's code, which an emulated host with two processors does not always survive.
 */
export function holdAnchor(): void {
  if (anchor) return
  const kvm = Kvm.open()
  const vm = kvm.createVm()
  anchor = [kvm, vm, vm.createVcpu(0)]
}

export function tinyVm(code: readonly number[], options: TinyVmOptions = {}): TinyVm {
  holdAnchor()
  const kvm = Kvm.open()
  const vm = kvm.createVm()
  options.prepare?.(vm)
  const memory = createGuestMemory([{ guestAddress: 0, size: options.size ?? 0x10000 }], {
    canaries: options.canaries ?? false,
  })
  memory.register(vm)
  memory.write(CODE, Uint8Array.from(code))
  const vcpu = vm.createVcpu(0)
  toRealMode(vcpu)
  return {
    kvm,
    vm,
    vcpu,
    memory,
    [Symbol.dispose]() {
      vcpu.close()
      vm.close()
      memory.close()
      kvm.close()
    },
  }
}

export function toRealMode(vcpu: VcpuFd, rip = CODE): void {
  const sregs = vcpu.getSregs()
  sregs.cs.base = 0n
  sregs.cs.selector = 0
  vcpu.setSregs(sregs)
  vcpu.setRegs({ rip: BigInt(rip), rflags: 2n, rsp: 0xff0n })
}

/** Flat 32-bit protected mode without a GDT and with an empty IDT: any exception is a triple fault. */
export function toProtectedMode(vcpu: VcpuFd, rip = CODE): void {
  const sregs = vcpu.getSregs()
  const flat = { base: 0n, limit: 0xffffffff, present: 1, s: 1, db: 1, g: 1, dpl: 0, l: 0 }
  sregs.cs.assign({ ...flat, selector: 8, type: 11 })
  for (const segment of [sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss]) {
    segment.assign({ ...flat, selector: 16, type: 3 })
  }
  sregs.cr0 |= 1n
  sregs.idt.assign({ base: 0n, limit: 0 })
  vcpu.setSregs(sregs)
  vcpu.setRegs({ rip: BigInt(rip), rflags: 2n, rsp: 0xff0n })
}

/** 64-bit mode with the first 2 MiB mapped to themselves, by tables at 0x9000. */
export function toLongMode({ vcpu, memory }: TinyVm, rip = CODE): void {
  memory.fill(0x9000, 0x3000)
  const present = 0x3
  memory.dataView(0x9000, 8).setUint32(0, 0xa000 | present, true)
  memory.dataView(0xa000, 8).setUint32(0, 0xb000 | present, true)
  memory.dataView(0xb000, 8).setUint32(0, 0x80 | present, true) // one large page
  const sregs = vcpu.getSregs()
  const flat = { base: 0n, limit: 0xffffffff, present: 1, s: 1, g: 1, dpl: 0 }
  sregs.cs.assign({ ...flat, selector: 8, type: 11, l: 1, db: 0 })
  for (const segment of [sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss]) {
    segment.assign({ ...flat, selector: 16, type: 3, l: 0, db: 1 })
  }
  sregs.cr0 = 0x8000_0001n
  sregs.cr3 = 0x9000n
  sregs.cr4 = 0x20n
  sregs.efer = 0x500n
  vcpu.setSregs(sregs)
  vcpu.setRegs({ rip: BigInt(rip), rflags: 2n, rsp: 0xff0n })
}

/** Guest programs, as bytes of 16-bit code. */
export const payload = {
  hlt: [0xf4],
  /** jmp $ */
  spin: [0xeb, 0xfe],
  /** ud2 */
  ud2: [0x0f, 0x0b],
  /** out port, al with `value` in AL; hlt */
  outByte: (port: number, value: number) => [0xb0, value, 0xe6, port, 0xf4],
  /** in al, port; mov [0x2000], al; hlt */
  inByte: (port: number) => [0xe4, port, 0xa2, 0x00, 0x20, 0xf4],
  /** Writes AL = 0x5a to port 0x10 for ever. */
  outLoop: [0xb0, 0x5a, 0xe6, 0x10, 0xeb, 0xfc],
  /** mov cx, 3; mov si, 0x2000; mov dx, 0x10; rep outsb; hlt */
  repOuts: [0xb9, 0x03, 0x00, 0xbe, 0x00, 0x20, 0xba, 0x10, 0x00, 0xf3, 0x6e, 0xf4],
  /** mov ax, 0x2000; mov ds, ax; mov ax, 0x1234; mov [0], ax (guest-physical 0x20000); mov bx, [2]; hlt */
  mmioWord: [
    0xb8, 0x00, 0x20, 0x8e, 0xd8, 0xb8, 0x34, 0x12, 0xa3, 0x00, 0x00, 0x8b, 0x1e, 0x02, 0x00, 0xf4,
  ],
} as const

/** Runs until something other than an interruption comes, at most `limit` times. Returns the KVM_EXIT_*. */
export function runToReason(vcpu: VcpuFd, limit = 50): number {
  for (let i = 0; i < limit; i++) {
    const reason = vcpu.run()
    if (reason !== KVM_EXIT_INTR) return reason
  }
  throw new Error('the guest made no exit')
}

/** The same. Returns the exit. */
export function runToExit(vcpu: VcpuFd, limit = 50) {
  runToReason(vcpu, limit)
  return vcpu.runPage.exit()
}
