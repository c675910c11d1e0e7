import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FileDisk, Tap, VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import { guestMemories, openFds, threads } from '../helpers/process-state.js'
import { noTapReason, TapInterface } from '../helpers/tap-interface.js'
import * as guest from './tiny-guest.js'

const folder = mkdtempSync(join(tmpdir(), 'node-kvm-input-'))
const at = (name: string) => join(folder, name)
const image = guest.kernel(guest.powerOff)
const good = { kernel: at('kernel'), memory: '32M' }

function file(name: string, bytes: Uint8Array | number | string): string {
  writeFileSync(at(name), typeof bytes === 'number' ? '' : bytes)
  if (typeof bytes === 'number') truncateSync(at(name), bytes)
  return at(name)
}

beforeAll(async () => {
  file('kernel', image)
  mkdirSync(at('directory'))
  execFileSync('mkfifo', [at('fifo')])
  // Whatever is opened once and kept, such as libuv's threads, is there from now on.
  for (let i = 0; i < 3; i++) {
    const disks = [new FileDisk(file('warm', 4096))]
    const vm = await VirtualMachine.create({ ...good, disks })
    await vm.close()
  }
})
afterAll(() => rmSync(folder, { recursive: true }))

/** Creates, which must fail and leave nothing open. */
async function failure(options: Partial<VirtualMachineOptions>): Promise<unknown> {
  const state = () => [openFds(), threads(), guestMemories()]
  const before = state()
  const result = await VirtualMachine.create({ ...good, ...options }).catch((error) => error)
  if (result instanceof VirtualMachine) {
    await result.close()
    throw new Error('the machine was created')
  }
  expect(state()).toEqual(before)
  return result
}

describe.each([
  ['kernel', 'ERR_KERNEL_IMAGE'],
  ['initrd', 'ERR_INITRD'],
] as const)('a file that is no %s', (option, code) => {
  it.each(['missing', 'directory', 'fifo'])('%s', async (name) => {
    const error = await failure({ [option]: at(name) })
    expect(error).toMatchObject({ code, option, value: at(name) })
    expect((error as Error).message).toContain(at(name))
  })

  it('a character device', async () => {
    expect(await failure({ [option]: '/dev/zero' })).toMatchObject({ code, option })
  })
})

describe('kernel', () => {
  it.each([
    ['empty', ''],
    ['one byte', 'M'],
    ['text', 'not a kernel\n'.repeat(1000)],
    ['zeros', 1 << 20],
    ['cut in the setup header', image.subarray(0, 0x210)],
    ['cut in the setup code', image.subarray(0, 0x300)],
    ['cut in the kernel', image.subarray(0, image.length - 4096)],
  ])('%s', async (name, bytes) => {
    const error = await failure({ kernel: file(`kernel ${name}`, bytes) })
    expect(error).toMatchObject({ code: 'ERR_KERNEL_IMAGE', option: 'kernel' })
    if (typeof bytes === 'object') {
      expect(await failure({ kernel: bytes })).toMatchObject({ code: 'ERR_KERNEL_IMAGE' })
    }
  })
})

it('an initrd larger than memory', async () => {
  expect(await failure({ initrd: file('large', 64 * 2 ** 20) })).toMatchObject({
    code: 'ERR_INITRD',
    option: 'initrd',
    message: expect.stringMatching(/67108864|64 MiB/),
  })
})

it.each([0, 4097, 2 ** 24 + 1, 2 ** 50, '1T'])('memory of %s', async (memory) => {
  expect(await failure({ memory })).toMatchObject({
    code: 'ERR_INVALID_OPTION',
    option: 'memory',
    value: memory,
  })
})

it.each([0, 4097, 65_536])('%d vCPUs', async (cpus) => {
  expect(await failure({ cpus })).toMatchObject({
    code: 'ERR_INVALID_OPTION',
    option: 'cpus',
    value: cpus,
  })
})

it.each([
  ['longer than the kernel allows', 'x'.repeat(2048)],
  ['of a megabyte', 'x'.repeat(2 ** 20)],
  ['with a NUL', 'console=ttyS0\0init=/bin/sh'],
  ['with a line feed', 'a\nb'],
  ['with a lone surrogate', 'a\ud800'],
])('a command line %s', async (_, commandLine) => {
  expect(await failure({ commandLine })).toMatchObject({
    code: 'ERR_COMMAND_LINE',
    option: 'commandLine',
  })
})

describe('disks', () => {
  it.each([
    ['missing', () => at('no disk')],
    ['a directory', () => at('directory')],
    ['a FIFO', () => at('fifo')],
    ['a character device', () => '/dev/zero'],
    ['no multiple of 512', () => file('odd', 1000)],
  ])('%s', async (_, path) => {
    const name = path()
    const first = new FileDisk(file('first', 4096))
    const error = await failure({ disks: [first, new FileDisk(name)] })
    expect(error).toMatchObject({ code: 'ERR_DISK' })
    expect((error as { option: string }).option).toMatch(/^disks\[1\]/)
    expect((error as Error).message).toContain(name)
  })

  it('in use by another machine', async () => {
    const path = file('locked', 4096)
    await using vm = await VirtualMachine.create({ ...good, disks: [new FileDisk(path)] })
    expect(vm.state).toBe('created')
    expect(await failure({ disks: [new FileDisk(path)] })).toMatchObject({ code: 'ERR_DISK' })
    await vm.close()
    await (await VirtualMachine.create({ ...good, disks: [new FileDisk(path)] })).close()
  })

  it('one object given twice', async () => {
    const disk = new FileDisk(file('twice', 4096))
    expect(await failure({ disks: [disk, disk] })).toMatchObject({ code: 'ERR_STATE' })
  })
})

const noTap = noTapReason()
describe.skipIf(noTap)('nets', () => {
  it('not there', async () => {
    const error = await failure({ nets: [new Tap('nk-no-such')] })
    expect(error).toMatchObject({ code: 'ERR_NET', option: 'nets[0].name', value: 'nk-no-such' })
  })

  it('busy', async () => {
    const tap = new TapInterface()
    try {
      await using vm = await VirtualMachine.create({ ...good, nets: [new Tap(tap.name)] })
      expect(vm.state).toBe('created')
      expect(await failure({ nets: [new Tap(tap.name)] })).toMatchObject({
        code: 'ERR_NET',
        value: tap.name,
      })
    } finally {
      tap.remove()
    }
  })
})
