/** Instructions of 16-bit real mode, as bytes: enough of them to write guests of a few lines. */
import { le16, le32 } from '../../lib/util/bits.js'

const rel8 = (offset: number): number => {
  if (offset < -128 || offset > 127) throw new RangeError(`a jump over ${offset} bytes`)
  return offset & 0xff
}

export const hlt = [0xf4]
/** jmp $ */
export const spin = [0xeb, 0xfe]
/** pause */
export const pause = [0xf3, 0x90]

export const movAl = (value: number) => [0xb0, value]
export const movAx = (value: number) => [0xb8, ...le16(value)]
export const movEax = (value: number) => [0x66, 0xb8, ...le32(value)]
export const movEcx = (value: number) => [0x66, 0xb9, ...le32(value)]
export const movDx = (value: number) => [0xba, ...le16(value)]
export const movSi = (value: number) => [0xbe, ...le16(value)]
export const movDi = (value: number) => [0xbf, ...le16(value)]
/** The data segment: addresses are `segment * 16 + offset`. Takes AX. */
export const movDs = (segment: number) => [...movAx(segment), 0x8e, 0xd8]
export const movEs = (segment: number) => [...movAx(segment), 0x8e, 0xc0]

/** inc al */
export const incAl = [0xfe, 0xc0]
/** mov eax, ecx */
export const eaxFromEcx = [0x66, 0x89, 0xc8]

/** out dx, al */
export const outb = (port: number, value: number) => [...movDx(port), ...movAl(value), 0xee]
/** in al, dx */
export const inb = (port: number) => [...movDx(port), 0xec]

/** Where IRQ 4 goes after `takeIrq4`. */
const IRQ4_VECTOR = 0x24
/** Has a stack, and `handler` for IRQ 4, the one line of the 8259A that is unmasked. Interrupts are off. */
export const takeIrq4 = (handler: number) => [
  ...[0xfa], // cli
  ...[0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0], // xor ax, ax; mov ds, ax; mov ss, ax
  ...[0xbc, ...le16(0x8000)], // mov sp, 0x8000
  ...[0xc7, 0x06, ...le16(IRQ4_VECTOR * 4), ...le16(handler)], // mov word [vector * 4], handler
  ...[0xc7, 0x06, ...le16(IRQ4_VECTOR * 4 + 2), ...le16(0)], // mov word [vector * 4 + 2], 0
  ...outb(0x20, 0x11), // 8259A: vectors from 0x20
  ...outb(0x21, 0x20),
  ...outb(0x21, 0x04),
  ...outb(0x21, 0x01),
  ...outb(0x21, 0xef),
]
/** sti; wait: hlt; jmp wait */
export const awaitInterrupts = [0xfb, 0xf4, 0xeb, 0xfd]

/** out imm8, al|ax|eax */
export const out8 = (port: number) => [0xe6, port]
export const out16 = (port: number) => [0xe7, port]
export const out32 = (port: number) => [0x66, 0xe7, port]
/** in al|ax|eax, imm8 */
export const in8 = (port: number) => [0xe4, port]
export const in16 = (port: number) => [0xe5, port]
export const in32 = (port: number) => [0x66, 0xe5, port]
/** By DX, DS:SI and ES:DI, ECX times. */
export const repOutsb = [0x67, 0xf3, 0x6e]
export const repOutsw = [0x67, 0xf3, 0x6f]
export const repInsb = [0x67, 0xf3, 0x6c]
export const repInsd = [0x67, 0xf3, 0x66, 0x6d]

/** mov [DS:offset], al|ax|eax */
export const store8 = (offset: number) => [0xa2, ...le16(offset)]
export const store16 = (offset: number) => [0xa3, ...le16(offset)]
export const store32 = (offset: number) => [0x66, 0xa3, ...le16(offset)]
/** mov al|ax|eax, [DS:offset] */
export const load8 = (offset: number) => [0xa0, ...le16(offset)]
export const load16 = (offset: number) => [0xa1, ...le16(offset)]
export const load32 = (offset: number) => [0x66, 0xa1, ...le16(offset)]
/** movq mm0, [DS:offset] and back */
export const load64 = (offset: number) => [0x0f, 0x6f, 0x06, ...le16(offset)]
export const store64 = (offset: number) => [0x0f, 0x7f, 0x06, ...le16(offset)]

/** Does `body` ECX times. */
export const repeat = (times: number, body: readonly number[]) => {
  const decrement = [0x66, 0x49] // dec ecx
  const back = rel8(-(body.length + decrement.length + 2))
  return [...movEcx(times), ...body, ...decrement, 0x75, back]
}

export const forever = (body: readonly number[]) => [...body, 0xeb, rel8(-(body.length + 2))]

/** Waits until the byte at DS:offset is `value`. */
export const waitFor = (offset: number, value: number) => {
  const body = [...pause, 0x80, 0x3e, ...le16(offset), value] // cmp byte [offset], value
  return [...body, 0x75, rel8(-(body.length + 2))]
}
