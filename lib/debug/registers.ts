import type { KvmRegs, KvmSregs } from '../kvm/abi/registers.js'
import type { VcpuFd } from '../kvm/vcpu-fd.js'
import { FxsaveArea } from './fxsave.js'

/** A vCPU's registers, fetched when one is first asked for and put back by `store()`. */
export class RegisterFile {
  readonly #vcpu: VcpuFd
  #regs: KvmRegs | undefined
  #sregs: KvmSregs | undefined
  #xsave: FxsaveArea | undefined
  readonly #changed = new Set<'regs' | 'sregs' | 'xsave'>()

  constructor(vcpu: VcpuFd) {
    this.#vcpu = vcpu
  }

  get regs(): KvmRegs {
    this.#regs ??= this.#vcpu.getRegs()
    return this.#regs
  }

  get sregs(): KvmSregs {
    this.#sregs ??= this.#vcpu.getSregs()
    return this.#sregs
  }

  get fxsave(): FxsaveArea {
    this.#xsave ??= new FxsaveArea(this.#vcpu.getXsave())
    return this.#xsave
  }

  /** Which of them `store()` is to write. */
  touch(part: 'regs' | 'sregs' | 'xsave'): void {
    this.#changed.add(part)
  }

  /** @throws KvmError if KVM refuses what was written, such as a reserved bit in CR4 */
  store(): void {
    if (this.#changed.has('sregs')) this.#vcpu.setSregs(this.sregs)
    if (this.#changed.has('regs')) this.#vcpu.setRegs(this.regs)
    if (this.#changed.has('xsave')) this.#vcpu.setXsave(this.fxsave.area)
    this.#changed.clear()
  }
}

/** A register as GDB's target descriptions have it. */
export interface Register {
  readonly name: string
  readonly bits: 32 | 64 | 80 | 128
  /** GDB's name of the type. */
  readonly type: string
  readonly group?: string
  get(file: RegisterFile): bigint
  /** Changes the register in the file; without it what the client writes is ignored. */
  set?(file: RegisterFile, value: bigint): void
}

/** A set of registers that GDB knows by this name, or else only shows. */
export interface Feature {
  readonly name: string
  readonly registers: readonly Register[]
}

type GeneralName = Exclude<keyof typeof KvmRegs.fields, 'rflags'>

const general = (name: GeneralName, type = 'int64'): Register => ({
  name,
  bits: 64,
  type,
  get: ({ regs }) => regs[name],
  set: (file, value) => {
    file.regs[name] = value
    file.touch('regs')
  },
})

const eflags: Register = {
  name: 'eflags',
  bits: 32,
  type: 'i386_eflags',
  get: ({ regs }) => regs.rflags & 0xffff_ffffn,
  set: (file, value) => {
    file.regs.rflags = value
    file.touch('regs')
  },
}

const SEGMENTS = ['cs', 'ss', 'ds', 'es', 'fs', 'gs'] as const

/** The selector alone: the hidden part stays, as the client cannot mean to load it. */
const selector = (name: (typeof SEGMENTS)[number]): Register => ({
  name,
  bits: 32,
  type: 'int32',
  get: ({ sregs }) => BigInt(sregs[name].selector),
  set: (file, value) => {
    file.sregs[name].selector = Number(value & 0xffffn)
    file.touch('sregs')
  },
})

const segmentBase = (name: 'fs' | 'gs'): Register => ({
  name: `${name}_base`,
  bits: 64,
  type: 'int64',
  get: ({ sregs }) => sregs[name].base,
  set: (file, value) => {
    file.sregs[name].base = value
    file.touch('sregs')
  },
})

const control = (name: 'cr0' | 'cr2' | 'cr3' | 'cr4' | 'cr8' | 'efer'): Register => ({
  name,
  bits: 64,
  type: 'int64',
  group: 'system',
  get: ({ sregs }) => sregs[name],
  set: (file, value) => {
    file.sregs[name] = value
    file.touch('sregs')
  },
})

/** A register of the x87 or SSE unit, by its place in the FXSAVE area. */
const fpu = (
  name: string,
  bits: Register['bits'],
  type: string,
  get: (area: FxsaveArea) => bigint,
  set: (area: FxsaveArea, value: bigint) => void,
  group?: string,
): Register => ({
  name,
  bits,
  type,
  ...(group === undefined ? {} : { group }),
  get: ({ fxsave }) => get(fxsave),
  set: (file, value) => {
    set(file.fxsave, value)
    file.touch('xsave')
  },
})

const field = (name: string, offset: number, bytes: number, group: string): Register =>
  fpu(
    name,
    32,
    'int',
    (area) => area.read(offset, bytes),
    (area, value) => area.write(offset, bytes, value),
    group,
  )

const tagWord = fpu(
  'ftag',
  32,
  'int',
  (area) => BigInt(area.tagWord),
  (area, value) => {
    area.tagWord = Number(value & 0xffffn)
  },
  'float',
)

const stack = (index: number): Register =>
  fpu(
    `st${index}`,
    80,
    'i387_ext',
    (area) => area.read(32 + 16 * index, 10),
    (area, value) => area.write(32 + 16 * index, 10, value),
  )

const vector = (index: number): Register =>
  fpu(
    `xmm${index}`,
    128,
    'vec128',
    (area) => area.read(160 + 16 * index, 16),
    (area, value) => area.write(160 + 16 * index, 16, value),
  )

const numbered = (count: number, make: (index: number) => Register): Register[] =>
  Array.from({ length: count }, (_, index) => make(index))

/** No system call that a signal has interrupted: there is none to restart. */
const originalRax: Register = {
  name: 'orig_rax',
  bits: 64,
  type: 'int',
  get: () => 0xffff_ffff_ffff_ffffn,
}

/**
 * The registers in the order of the `g` packet (GDB manual, "i386 Features"). GDB takes the last feature, which it does
 * not know, for registers to show and set.
 */
export const FEATURES: readonly Feature[] = [
  {
    name: 'org.gnu.gdb.i386.core',
    registers: [
      ...(['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi'] as const).map((name) => general(name)),
      ...(['rbp', 'rsp'] as const).map((name) => general(name, 'data_ptr')),
      ...(['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'] as const).map((name) =>
        general(name),
      ),
      general('rip', 'code_ptr'),
      eflags,
      ...SEGMENTS.map(selector),
      ...numbered(8, stack),
      field('fctrl', 0, 2, 'float'),
      field('fstat', 2, 2, 'float'),
      tagWord,
      field('fiseg', 12, 2, 'float'),
      field('fioff', 8, 4, 'float'),
      field('foseg', 20, 2, 'float'),
      field('fooff', 16, 4, 'float'),
      field('fop', 6, 2, 'float'),
    ],
  },
  {
    name: 'org.gnu.gdb.i386.sse',
    registers: [
      ...numbered(16, vector),
      fpu(
        'mxcsr',
        32,
        'i386_mxcsr',
        (area) => area.read(24, 4),
        (area, value) => area.write(24, 4, value),
        'vector',
      ),
    ],
  },
  { name: 'org.gnu.gdb.i386.linux', registers: [originalRax] },
  { name: 'org.gnu.gdb.i386.segments', registers: [segmentBase('fs'), segmentBase('gs')] },
  {
    name: 'org.node-kvm.system',
    registers: (['cr0', 'cr2', 'cr3', 'cr4', 'cr8', 'efer'] as const).map(control),
  },
]

/** Every register by its number. */
export const REGISTERS: readonly Register[] = FEATURES.flatMap(({ registers }) => registers)

export const registerBytes = ({ bits }: Register): number => bits / 8

/** A register's value as the protocol has it: bytes in the target's order. */
export function encodeRegister(register: Register, file: RegisterFile): Buffer {
  const bytes = Buffer.alloc(registerBytes(register))
  let value = BigInt.asUintN(register.bits, register.get(file))
  for (let i = 0; i < bytes.length; i++, value >>= 8n) bytes[i] = Number(value & 0xffn)
  return bytes
}

/** Changes a register in the file. */
export function decodeRegister(register: Register, file: RegisterFile, bytes: Uint8Array): void {
  const value = bytes.reduceRight((total, byte) => (total << 8n) | BigInt(byte), 0n)
  register.set?.(file, value)
}
