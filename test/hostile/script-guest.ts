import { le32 } from '../../lib/util/bits.js'
import { OPS, type Op } from './script.js'

// Where the guest that plays scripts has its things, in 16 MiB of memory.
export const CODE = 0x10_0000
/** Set by the host: the script is to be played. */
export const GO = 0x20_0000
/** Set by the guest: it has been played. */
export const DONE = 0x20_0004
/** Comparisons that failed. */
export const ERRORS = 0x20_0008
export const SCRIPT = 0x21_0000
/** Steps that fit before {@link LOG}. */
export const STEPS_MAX = 30_000
/** What was loaded, 8 bytes for each. */
export const LOG = 0x30_0000
/** What is free for rings and buffers begins here and ends with memory. */
export const HEAP = 0x40_0000
export const MEMORY = 0x100_0000

const SLOT = 64

/** Waits for GO, then goes through the records: rsi is the record after this one, rdi where a loaded value goes. */
const PROLOGUE = [
  ...[0xf3, 0x90], // 1: pause
  ...[0x83, 0x3c, 0x25, ...le32(GO), 0], // cmpl $0, GO
  ...[0x74, 0xf4], // je 1b
  ...[0xc7, 0x04, 0x25, ...le32(GO), ...le32(0)], // movl $0, GO
  ...[0xbe, ...le32(SCRIPT)], // mov $SCRIPT, %esi
  ...[0xbf, ...le32(LOG)], // mov $LOG, %edi
]
const NEXT = [
  ...[0x8b, 0x0e], // mov (%rsi), %ecx: the operation
  ...[0x48, 0x8b, 0x56, 0x08], // mov 8(%rsi), %rdx: the address
  ...[0x48, 0x8b, 0x46, 0x10], // mov 16(%rsi), %rax: the value
  ...[0x44, 0x8b, 0x46, 0x18], // mov 24(%rsi), %r8d: the extra
  ...[0x48, 0x83, 0xc6, 0x20], // add $32, %rsi
  ...[0xc1, 0xe1, 0x06], // shl $6, %ecx
  ...[0x81, 0xc1, ...le32(CODE + SLOT * 2)], // add $handlers, %ecx
  ...[0xff, 0xe1], // jmp *%rcx
]
const LOGGED = [0x48, 0x89, 0x07, 0x48, 0x83, 0xc7, 0x08] // mov %rax, (%rdi); add $8, %rdi

const HANDLERS: Record<Exclude<Op, 'end'>, readonly number[]> = {
  out8: [0xee], // out %al, (%dx)
  out16: [0x66, 0xef],
  out32: [0xef],
  in8: [0x31, 0xc0, 0xec, ...LOGGED], // xor %eax, %eax; in (%dx), %al
  in16: [0x31, 0xc0, 0x66, 0xed, ...LOGGED],
  in32: [0xed, ...LOGGED],
  store8: [0x88, 0x02], // mov %al, (%rdx)
  store16: [0x66, 0x89, 0x02],
  store32: [0x89, 0x02],
  store64: [0x48, 0x89, 0x02],
  load8: [0x0f, 0xb6, 0x02, ...LOGGED], // movzbl (%rdx), %eax
  load16: [0x0f, 0xb7, 0x02, ...LOGGED],
  load32: [0x8b, 0x02, ...LOGGED],
  load64: [0x48, 0x8b, 0x02, ...LOGGED],
  wait16: [0xf3, 0x90, 0x66, 0x39, 0x02, 0x75, 0xf9], // 1: pause; cmp %ax, (%rdx); jne 1b
  wait32: [0xf3, 0x90, 0x39, 0x02, 0x75, 0xfa],
  same16: [0x0f, 0xb7, 0x00, 0xf3, 0x90, 0x66, 0x39, 0x02, 0x75, 0xf9], // movzwl (%rax), %eax; as wait16
  add16: [0x66, 0x01, 0x02], // add %ax, (%rdx)
  compare: [
    ...[0x49, 0x89, 0xf2, 0x49, 0x89, 0xfb], // mov %rsi, %r10; mov %rdi, %r11
    ...[0x89, 0xd6, 0x89, 0xc7, 0x44, 0x89, 0xc1], // mov %edx, %esi; mov %eax, %edi; mov %r8d, %ecx
    ...[0xf3, 0xa6], // repe cmpsb
    ...[0x4c, 0x89, 0xd6, 0x4c, 0x89, 0xdf], // mov %r10, %rsi; mov %r11, %rdi
    ...[0x74, 0x07, 0xff, 0x04, 0x25, ...le32(ERRORS)], // je 1f; incl ERRORS; 1:
  ],
  loop: [0xff, 0x0a, 0x48, 0x0f, 0x45, 0xf0], // decl (%rdx); cmovne %rax, %rsi
}
const DONE_THEN_WAIT = [0xc7, 0x04, 0x25, ...le32(DONE), ...le32(1)] // movl $1, DONE

/** The machine code, for long mode at {@link CODE}: a slot of 64 bytes for each part. */
export function scriptGuest(): Uint8Array {
  const code = new Uint8Array(SLOT * (2 + OPS.length)).fill(0xcc)
  const put = (slot: number, bytes: readonly number[], target: number) => {
    const at = SLOT * slot
    const jump = [0xe9, ...le32(SLOT * target - (at + bytes.length + 5))] // jmp
    if (bytes.length + jump.length > SLOT) throw new RangeError(`slot ${slot} is too long`)
    code.set([...bytes, ...jump], at)
  }
  put(0, PROLOGUE, 1)
  put(1, NEXT, 1)
  OPS.forEach((op, index) => {
    if (op === 'end') put(2 + index, DONE_THEN_WAIT, 0)
    else put(2 + index, HANDLERS[op], 1)
  })
  return code
}
