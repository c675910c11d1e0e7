import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DebugRegisters, type HardwarePoint } from '../../lib/debug/debug-registers.js'

const execute = (address: bigint): HardwarePoint => ({ access: 'execute', address, length: 1 })
const watch = (address: bigint, length: number): HardwarePoint => ({
  access: 'write',
  address,
  length,
})

describe('debug registers', () => {
  it('enable what is inserted, as the SDM has it', () => {
    const registers = new DebugRegisters()
    expect(registers.encode()).toEqual([0n, 0n, 0n, 0n, 0n, 0n, 0n, 0x700n])
    registers.insert(execute(0xffff_ffff_8100_0000n))
    registers.insert(watch(0x2000n, 4))
    registers.insert({ access: 'read', address: 0x3000n, length: 8 })
    registers.insert({ access: 'read-write', address: 0x4002n, length: 2 })
    const [dr0, dr1, dr2, dr3, , , , dr7] = registers.encode()
    expect([dr0, dr1, dr2, dr3]).toEqual([0xffff_ffff_8100_0000n, 0x2000n, 0x3000n, 0x4002n])
    // G0 to G3; LEN and R/W: 0, 4 bytes written, 8 bytes and 2 bytes read or written.
    expect(dr7).toBe(0x7bd0_07aan)
  })

  it('are four', () => {
    const registers = new DebugRegisters()
    for (const address of [1n, 2n, 3n, 4n]) expect(registers.insert(execute(address))).toBe(true)
    expect(registers.insert(execute(1n))).toBe(true)
    expect(registers.insert(execute(5n))).toBe(false)
    registers.remove(execute(2n))
    registers.remove(execute(9n))
    expect(registers.insert(execute(5n))).toBe(true)
    registers.clear()
    expect(registers.used).toBe(false)
  })

  it.each([
    ['a length of 3', watch(0n, 3)],
    ['a length of 0', watch(0n, 0)],
    ['an odd address', watch(0x2001n, 2)],
    ['a breakpoint of 2 bytes', { ...execute(0n), length: 2 }],
  ])('refuse %s', (_, point) => {
    const registers = new DebugRegisters()
    expect(registers.insert(point)).toBe(false)
    expect(registers.used).toBe(false)
  })

  it('say what DR6 tells of', () => {
    const registers = new DebugRegisters()
    for (const point of [execute(0x1000n), watch(0x2000n, 8)]) registers.insert(point)
    expect(registers.hit(0xffff_0ff1n)).toEqual(execute(0x1000n))
    expect(registers.hit(0xffff_0ff3n)).toEqual(watch(0x2000n, 8))
    // A single step, and a register that is not in use.
    expect(registers.hit(0xffff_4ff0n)).toBeUndefined()
    expect(registers.hit(0xffff_0ff4n)).toBeUndefined()
  })

  it('are free again once all is removed', () => {
    const point = fc.record({
      access: fc.constantFrom('execute', 'write', 'read', 'read-write'),
      address: fc.bigInt(0n, 64n),
      length: fc.constantFrom(1, 2, 4, 8),
    }) as fc.Arbitrary<HardwarePoint>
    fc.assert(
      fc.property(fc.array(point), (points) => {
        const registers = new DebugRegisters()
        for (const each of points) registers.insert(each)
        for (const each of points) registers.remove(each)
        expect(registers.used).toBe(false)
      }),
    )
  })
})
