import { le32 } from '../util/bits.js'

/** System calls and requests of Linux on x86-64. */

const OPEN = 2
const IOCTL = 16
const PAUSE = 34
const O_RDWR = 2
const KVM_CREATE_VM = 0xae01
const KVM_CREATE_VCPU = 0xae41
const KVM_CREATE_IRQCHIP = 0xae60

const BASE = 0x400000
const HEADERS = 64 + 56
const PATH = Buffer.from('/dev/kvm\0')

const SYSCALL = [0x0f, 0x05]
const setEax = (value: number) => [0xb8, ...le32(value)]
const setEsi = (value: number) => [0xbe, ...le32(value)]
const KEEP_KVM = [0x41, 0x89, 0xc4] // mov r12d, eax
const KEEP_VM = [0x41, 0x89, 0xc5] // mov r13d, eax
const KVM = [0x44, 0x89, 0xe7] // mov edi, r12d
const VM = [0x44, 0x89, 0xef] // mov edi, r13d
const NO_ARGUMENT = [0x31, 0xd2] // xor edx, edx

const ioctl = (fd: readonly number[], request: number) => [
  ...fd,
  ...setEsi(request),
  ...NO_ARGUMENT,
  ...setEax(IOCTL),
  ...SYSCALL,
]

/**
 * A program, as the bytes of a static ELF executable, that keeps two virtual machines open for as long as it lives: one
 * with interrupt chips, whose vCPU's local APIC stays disabled, and one without.
 *
 * KVM counts vCPUs of either kind, and patches its own code when the first comes and the last goes. An emulated host
 * with several processors does not always survive that while another of them runs this code; so neither count is to
 * fall to 0 once guests run.
 */
export function kvmAnchor(): Uint8Array {
  const program = [
    ...[...setEsi(O_RDWR), ...setEax(OPEN), ...SYSCALL, ...KEEP_KVM],
    ...[...ioctl(KVM, KVM_CREATE_VM), ...KEEP_VM],
    ...[...ioctl(VM, KVM_CREATE_IRQCHIP), ...ioctl(VM, KVM_CREATE_VCPU)],
    ...[...ioctl(KVM, KVM_CREATE_VM), ...KEEP_VM, ...ioctl(VM, KVM_CREATE_VCPU)],
    ...[...setEax(PAUSE), ...SYSCALL, 0xeb, 0xf7], // jmp to the pause
  ]
  // lea rdi, [rip + what is left of the program]
  const code = [0x48, 0x8d, 0x3d, ...le32(program.length), ...program]
  const size = HEADERS + code.length + PATH.length
  const image = Buffer.alloc(size)
  // ELF-64 header: little-endian, executable, x86-64, one program header right behind (System V gABI, chapter 4).
  image.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  image.writeUInt16LE(2, 16)
  image.writeUInt16LE(62, 18)
  image.writeUInt32LE(1, 20)
  image.writeBigUInt64LE(BigInt(BASE + HEADERS), 24)
  image.writeBigUInt64LE(64n, 32)
  image.writeUInt16LE(64, 52)
  image.writeUInt16LE(56, 54)
  image.writeUInt16LE(1, 56)
  // PT_LOAD of the whole file, to read and execute.
  image.writeUInt32LE(1, 64)
  image.writeUInt32LE(5, 68)
  image.writeBigUInt64LE(BigInt(BASE), 80)
  image.writeBigUInt64LE(BigInt(BASE), 88)
  image.writeBigUInt64LE(BigInt(size), 96)
  image.writeBigUInt64LE(BigInt(size), 104)
  image.writeBigUInt64LE(0x1000n, 112)
  image.set(code, HEADERS)
  image.set(PATH, HEADERS + code.length)
  return image
}
