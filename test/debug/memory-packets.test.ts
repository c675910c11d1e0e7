import { beforeEach, describe, expect, it } from 'vitest'
import type { DebugTarget } from '../../lib/debug/debug-target.js'
import { Debugger } from '../../lib/debug/debugger.js'
import { changePoint, readMemory, writeMemory } from '../../lib/debug/memory-packets.js'
import { PACKET_SIZE } from '../../lib/debug/replies.js'
import type { VcpuFd } from '../../lib/kvm/vcpu-fd.js'
import { plainMemory } from '../helpers/guest-memories.js'

const MAPPED = 0x4000
/** 16 KiB of memory mapped to itself, and nothing above. */
const vcpu = {
  translate: (address: bigint) => ({
    valid: address < BigInt(MAPPED) ? 1 : 0,
    physical_address: address,
  }),
  setGuestDebug: () => {},
} as unknown as VcpuFd

let debug: Debugger
beforeEach(async () => {
  const target: DebugTarget = {
    memory: plainMemory([0, 0x10000]),
    vcpus: [vcpu],
    ended: false,
    observe: () => {},
    hold: async () => {},
    release: () => {},
    watchPort: () => () => {},
    kill: () => {},
    reset: async () => {},
  }
  const support = { int3: true, hardwareBreakpoints: true, watchpoints: false, blockIrq: true }
  debug = await Debugger.attach(target, support, () => {})
})

const read = (place: string) => readMemory(vcpu, debug.memory, place)
const write = (rest: string, bytes?: Uint8Array) => writeMemory(vcpu, debug.memory, rest, bytes)
const point = (packet: string) => changePoint(vcpu, debug, packet)

describe('memory', () => {
  it('is read and written, across pages', () => {
    expect(write('ffe,4:', Uint8Array.of(1, 2, 3, 4))).toBe('OK')
    expect(read('ffd,6')).toBe('000102030400')
  })

  it('is read as far as it is mapped, and not at all beyond', () => {
    expect(read('3ffe,8')).toBe('0000')
    expect(read('4000,8')).toBe('E0e')
    expect(read('4000,0')).toBe('')
    expect(write('3fff,2:', Uint8Array.of(1, 2))).toBe('E0e')
  })

  it('is read no further than fits into a reply', () => {
    expect(read('0,ffffff')).toHaveLength(PACKET_SIZE)
  })

  it.each(['', '0', '0,', ',1', '0,1,2', 'x,1', '0,-1'])('is not read at %j', (place) => {
    expect(read(place)).toBe('E16')
  })

  it('is not written with more or fewer bytes than were said', () => {
    expect(write('0,2:', Uint8Array.of(1))).toBe('E16')
    expect(write('0,0:', Uint8Array.of(1))).toBe('E16')
    expect(write('0,1:', undefined)).toBe('E16')
    expect(read('0,2')).toBe('0000')
  })
})

describe('points', () => {
  it('of software change no memory that is read', () => {
    expect(point('Z0,100,1')).toBe('OK')
    expect(debug.target.memory.read(0x100, 1)).toEqual(Uint8Array.of(0xcc))
    expect(read('100,1')).toBe('00')
    expect(point('z0,100,1')).toBe('OK')
    expect(debug.target.memory.read(0x100, 1)).toEqual(Uint8Array.of(0))
    expect(point('Z0,4000,1')).toBe('E0e')
  })

  it('of hardware are as many as there are registers', () => {
    const inserted = [1, 2, 3, 4, 5].map((address) => point(`Z1,${address},1`))
    expect(inserted).toEqual(['OK', 'OK', 'OK', 'OK', 'E1c'])
    expect([point('z1,1,1'), point('Z1,5,1')]).toEqual(['OK', 'OK'])
  })

  it.each([
    ['Z2,100,4', ''], // no watchpoints here
    ['Z5,100,4', ''],
    ['Z0,100', 'E16'],
    ['Z1,x,1', 'E16'],
  ])('%s is answered by %j', (packet, reply) => {
    expect(point(packet)).toBe(reply)
  })
})
