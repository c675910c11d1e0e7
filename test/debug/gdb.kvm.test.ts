import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { debugSupport } from '../../lib/debug/debug-support.js'
import { type GdbAddress, VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import { GdbClient } from '../helpers/gdb-client.js'
import { foreignEnvironment } from '../helpers/process-state.js'
import * as guest from '../machine/tiny-guest.js'

/** Where the guests below count, and their first instruction: an INCQ of 8 bytes, then a jump back of 2. */
const COUNTER = 0x180_0000
const ENTRY = 0x100_0200
const JUMP = ENTRY + 8
const counting = guest.kernel(guest.count(COUNTER))

const support = debugSupport()
for (const [what, has] of Object.entries(support)) {
  if (!has) console.log(`not tested: debugging with ${what}, which this KVM has not`)
}

const create = (options: Partial<VirtualMachineOptions> = {}) =>
  VirtualMachine.create({ kernel: counting, memory: '32M', ...options })

/** A machine whose guest waits for a debugger. */
async function waiting(options: Partial<VirtualMachineOptions> = {}) {
  const vm = await create(options)
  const address = await vm.gdb.listen({ port: 0, wait: true })
  await vm.start()
  return { vm, address, [Symbol.asyncDispose]: () => vm.close() }
}

const counter = (vm: VirtualMachine) => vm.memory.dataView(COUNTER, 8).getBigUint64(0, true)

async function untilItCounts(vm: VirtualMachine) {
  for (const start = counter(vm); counter(vm) === start; ) await sleep(1)
}

async function standsStill(vm: VirtualMachine) {
  const before = counter(vm)
  await sleep(20)
  return counter(vm) === before
}

const hex = (value: number) => value.toString(16)

describe("Debian's gdb", () => {
  const run = async (address: GdbAddress, ...commands: string[]) => {
    const remote = 'path' in address ? address.path : `${address.host}:${address.port}`
    // Seconds for an answer; two by itself.
    const first = ['set remotetimeout 120', `target remote ${remote}`]
    const all = [...first, ...commands].flatMap((command) => ['-ex', command])
    const env = foreignEnvironment
    const { stdout } = await promisify(execFile)('gdb', ['-nx', '-batch', ...all], { env })
    return stdout
  }

  it('steps, sets breakpoints, reads and writes registers and memory', async () => {
    await using machine = await waiting()
    const value = `p *(long*)${COUNTER}`
    const output = await run(
      machine.address,
      ...['p $rip', 'stepi', value, 'p $rip', `set var *(long*)${COUNTER} = 76`],
      ...['set $r15 = 0x1234', 'set $xmm3.v4_int32[1] = 7', 'set $st2 = 2.5'],
      ...[`break *${JUMP}`, 'continue', value, `x/2bx ${JUMP}`, 'continue', value],
      ...['p $r15', 'p $xmm3.v2_int64[0]', 'p $st2', 'p $mxcsr', 'p $cr0 & 0x80000001'],
      ...['delete', 'stepi', 'p $rip', 'detach'],
    )
    const values = [...output.matchAll(/^\$\d+ = (.*)$/gm)].map(([, text]) => text)
    const rip = (address: number) => `(void (*)()) 0x${hex(address)}`
    expect(values).toEqual([
      ...[rip(ENTRY), '1', rip(JUMP), '77', '78', '4660', `${7 * 2 ** 32}`, '2.5'],
      ...['[ IM DM ZM OM UM PM ]', '2147483649', rip(ENTRY)],
    ])
    expect(output.match(/Breakpoint 1, 0x/g)).toHaveLength(2)
    expect(output).toContain(`0x${hex(JUMP)}:\t0xeb\t0xf6`)
    await untilItCounts(machine.vm)
  })

  it.skipIf(!support.hardwareBreakpoints)('sets hardware breakpoints', async () => {
    await using machine = await waiting()
    const output = await run(machine.address, `hbreak *${JUMP}`, 'c', 'c', `p *(long*)${COUNTER}`)
    expect(output.match(/Breakpoint 1, 0x/g)).toHaveLength(2)
    expect(output).toMatch(/^\$1 = 2$/m)
    await untilItCounts(machine.vm)
  })

  it.skipIf(!support.watchpoints)('sets watchpoints', async () => {
    await using machine = await waiting()
    const output = await run(machine.address, `watch *(long*)${COUNTER}`, 'c', 'c')
    expect(output).toMatch(/Old value = 1\nNew value = 2/)
  })

  it('sees vCPUs as threads, and interrupts the guest', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'node-kvm-gdb-'))
    try {
      await using vm = await create({ cpus: 2 })
      const address = await vm.gdb.listen({ path: join(folder, 'gdb') })
      await vm.start()
      await untilItCounts(vm)
      const output = await run(
        address,
        ...['info threads', 'thread 2', 'p $rip', 'monitor info registers', 'thread 1', 'detach'],
      )
      expect(output).toMatch(/^\* 1 +Thread 1 \(vCPU 0, runnable\)/m)
      expect(output).toMatch(/^ {2}2 +Thread 2 \(vCPU 1, not started\)/m)
      expect(output).toMatch(/^\$1 = .*0xfff0/m)
      await untilItCounts(vm)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('resets the machine', async () => {
    await using machine = await waiting()
    const { vm } = machine
    const value = `p *(long*)${COUNTER}`
    const output = await run(
      machine.address,
      ...[`break *${JUMP}`, 'continue', 'delete', 'monitor reset', 'flushregs', 'p $rip', value],
      ...['stepi', value, 'detach'],
    )
    expect(output).toMatch(new RegExp(`^\\$1 = .*0x${hex(ENTRY)}\n\\$2 = 0\n`, 'm'))
    expect(output).toMatch(/^\$3 = 1$/m)
    await untilItCounts(vm)
  })
})

describe('a client', () => {
  it('holds the guest while it stands, together with pause() and resume()', async () => {
    await using vm = await create()
    await vm.start()
    const address = await vm.gdb.listen({ port: 0 })
    await untilItCounts(vm)
    using client = await GdbClient.connect(address)
    expect(await client.ask('?')).toBe('T02thread:1;')
    expect(await standsStill(vm)).toBe(true)
    await vm.pause()
    client.send('c')
    expect(await standsStill(vm)).toBe(true)
    await vm.resume()
    await untilItCounts(vm)
    client.raw('\x03')
    expect(await client.receive()).toBe('T02thread:1;')
    expect(await standsStill(vm)).toBe(true)
    expect(vm.state).toBe('running')
  })

  it('that goes away leaves no breakpoint behind', async () => {
    await using machine = await waiting()
    const { vm, address } = machine
    const code = vm.memory.read(ENTRY, 10)
    {
      using client = await GdbClient.connect(address)
      expect(await client.ask(`Z0,${hex(JUMP)},1`)).toBe('OK')
      expect(await client.ask(`Z0,${hex(JUMP)},1`)).toBe('OK')
      expect(vm.memory.read(ENTRY, 10)).not.toEqual(code)
      expect(await client.ask(`m${hex(ENTRY)},a`)).toBe(Buffer.from(code).toString('hex'))
      expect(await client.ask('c')).toBe('T05thread:1;')
      expect(counter(vm)).toBe(1n)
      // Runs when the client leaves.
      expect(await client.ask(`z0,${hex(JUMP)},1`)).toBe('OK')
      expect(await client.ask(`Z0,${hex(ENTRY + 0x100)},1`)).toBe('OK')
      client.send('c')
      await untilItCounts(vm)
    }
    await untilItCounts(vm)
    while (vm.memory.read(ENTRY + 0x100, 1)[0] !== 0) await sleep(1)
    expect(vm.memory.read(ENTRY, 10)).toEqual(code)
    // Another may come.
    using next = await GdbClient.connect(address)
    expect(await next.ask('D')).toBe('OK')
    await next.closed
    await untilItCounts(vm)
  })

  it('is the only one', async () => {
    await using machine = await waiting()
    using client = await GdbClient.connect(machine.address)
    expect(await client.ask('?')).toBe('T02thread:1;')
    using second = await GdbClient.connect(machine.address)
    await second.closed
    expect(await client.ask('qC')).toBe('QC1')
  })

  it('is told of the end', async () => {
    await using machine = await waiting({ kernel: guest.kernel(guest.powerOff) })
    using client = await GdbClient.connect(machine.address)
    expect(await client.ask('c')).toBe('W00')
    await client.closed
  })

  it('is told of a crash', async () => {
    await using machine = await waiting({ kernel: guest.kernel(guest.tripleFault) })
    using client = await GdbClient.connect(machine.address)
    expect(await client.ask('vCont;c')).toBe('X06')
  })

  it('can kill the guest', async () => {
    await using machine = await waiting()
    using client = await GdbClient.connect(machine.address)
    client.send('k')
    expect(await machine.vm.stopped).toEqual({ kind: 'killed' })
    await client.closed
  })

  it('steps one vCPU, and lets the others stand', async () => {
    await using machine = await waiting({ cpus: 2 })
    using client = await GdbClient.connect(machine.address)
    expect(await client.ask('vCont;s:1')).toBe('T05thread:1;')
    expect(counter(machine.vm)).toBe(1n)
    expect(await client.ask('vCont;s:1')).toBe('T05thread:1;')
    expect(await client.ask('vCont;s:1;c')).toBe('T05thread:1;')
    expect(counter(machine.vm)).toBe(2n)
    expect(await client.ask('Hc2')).toBe('OK')
    expect(await client.ask('Hg2')).toBe('OK')
    expect(await client.ask('qThreadExtraInfo,2')).toBe(
      Buffer.from('vCPU 1, not started').toString('hex'),
    )
    client.send('vCont;c:2')
    await sleep(5)
    expect(counter(machine.vm)).toBe(2n)
    client.raw('\x03')
    expect(await client.receive()).toBe('T02thread:2;')
  })

  it('goes on at another address', async () => {
    await using machine = await waiting()
    using client = await GdbClient.connect(machine.address)
    expect(await client.ask(`s${hex(JUMP)}`)).toBe('T05thread:1;')
    expect(counter(machine.vm)).toBe(0n)
    expect(await client.ask('p10')).toBe('0002000100000000')
  })

  it('knows of swbreak if it says so', async () => {
    await using machine = await waiting()
    using client = await GdbClient.connect(machine.address)
    expect(await client.ask('qSupported:multiprocess+;swbreak+;hwbreak+')).toMatch(
      /^PacketSize=4000;/,
    )
    expect(await client.ask(`Z0,${hex(JUMP)},1`)).toBe('OK')
    expect(await client.ask('c')).toBe('T05swbreak:;thread:1;')
    expect(await client.ask(`z0,${hex(JUMP)},1`)).toBe('OK')
    if (!support.hardwareBreakpoints) return
    expect(await client.ask(`Z1,${hex(ENTRY)},1`)).toBe('OK')
    expect(await client.ask('c')).toBe('T05hwbreak:;thread:1;')
  })

  it('writes all registers at once', async () => {
    await using machine = await waiting()
    using client = await GdbClient.connect(machine.address)
    const all = (await client.ask('g'))!
    expect(all).toHaveLength(2 * (17 * 8 + 7 * 4 + 8 * 10 + 8 * 4 + 16 * 16 + 4 + 8 + 16 + 6 * 8))
    const changed = `efbeadde00000000${all.slice(16)}`
    expect(await client.ask(`G${changed}`)).toBe('OK')
    expect(await client.ask('g')).toBe(changed)
    // A reserved bit of CR4 (number 66): KVM refuses it, and nothing has changed.
    const cr4 = await client.ask('p43')
    expect(await client.ask('P43=ffffffffffffffff')).toBe('E16')
    expect(await client.ask('p43')).toBe(cr4)
  })

  it('reaches memory only where RAM is mapped', async () => {
    await using machine = await waiting()
    using client = await GdbClient.connect(machine.address)
    const { exits } = machine.vm.stats()
    // The local APIC and a virtio register in the first 4 GiB, which are mapped; and what is not.
    for (const address of [
      'fee00020',
      'c0000000',
      'ffff888000000000',
      '7fffffffffff',
      'ffffffffffffffff',
    ]) {
      expect(await client.ask(`m${address},4`)).toBe('E0e')
      expect(await client.ask(`M${address},1:00`)).toBe('E0e')
      expect(await client.ask(`Z0,${address},1`)).toBe('E0e')
    }
    // The last byte of memory, of two.
    expect(await client.ask('m1ffffff,2')).toBe('00')
    expect(await client.ask('M1ffffff,2:0102')).toBe('E0e')
    expect(await client.ask(Buffer.from('X1800000,4:\x01#}]\x7f', 'latin1'))).toBe('E16')
    expect(await client.ask(Buffer.from('X1800008,4:$#}*', 'latin1'))).toBe('OK')
    expect(Buffer.from(machine.vm.memory.read(COUNTER + 8, 4)).toString()).toBe('$#}*')
    expect(machine.vm.stats().exits).toEqual(exits)
  })
})

describe('whatever a client sends', () => {
  it.each([
    ...[
      'Z0',
      'Z0,',
      'Z9,0,0',
      'Z2,0,3',
      'z1,0,',
      'm',
      'm,',
      'm0',
      'm0,fffffffffffffffff',
      'M0,1:0',
    ],
    ...[
      'M0,2:00',
      'X0,1:',
      'p',
      'pfff',
      'P0',
      'P0=',
      'P0=0',
      'Pfff=00',
      'G0',
      'Gxx',
      'H',
      'Hx1',
      'Hg9',
      'T9',
    ],
    ...[
      'vCont;',
      'vCont;x',
      'vCont;c:9',
      'qThreadExtraInfo,',
      'qThreadExtraInfo,9',
      'qRcmd,0',
      'cx',
      'S',
    ],
    ...[
      'qXfer:features:read:target.xml:',
      'qXfer:features:read:other.xml:0,9',
      'QUnknown',
      'vKil',
      '\xff',
      '',
    ],
  ])('%j gets an error or nothing', async (packet) => {
    await using machine = await waiting()
    using client = await GdbClient.connect(machine.address)
    expect(await client.ask(packet)).toMatch(/^(E[\da-f]{2})?$/)
    expect(await client.ask('?')).toBe('T02thread:1;')
  })

  it('in no order that matters, the guest goes on when it is gone', async () => {
    await using machine = await waiting()
    const { vm, address } = machine
    const code = vm.memory.read(ENTRY, 10)
    const noise = Buffer.alloc(1 << 16)
    for (let round = 0; round < 20; round++) {
      using client = await GdbClient.connect(address)
      client.send(`Z0,${hex(JUMP)},1`)
      client.send(round % 2 === 0 ? 'c' : 'vCont;s:1;c')
      for (let i = 0; i < noise.length; i++) noise[i] = (i * 7919 + round * 31) & 0xff
      client.raw(noise)
      client.raw('\x03\x03$c#63\x03+-')
      if (round % 3 === 0) client.send('D')
      if (round % 4 === 0) await sleep(5)
      client.socket.end()
      await Promise.race([client.closed, sleep(50)])
    }
    while (Buffer.compare(vm.memory.read(ENTRY, 10), code) !== 0) await sleep(1)
    await untilItCounts(vm)
  })

  it('a packet that is too long is not kept', async () => {
    await using machine = await waiting()
    using client = await GdbClient.connect(machine.address)
    client.raw(`$${'m'.repeat(1 << 20)}`)
    client.raw('#00')
    expect(await client.ask('?')).toBe('T02thread:1;')
  })

  it('a client that does not read does not make this process grow', async () => {
    await using machine = await waiting()
    using client = await GdbClient.connect(machine.address)
    expect(await client.ask('QStartNoAckMode')).toBe('OK')
    client.socket.pause()
    const before = process.memoryUsage.rss()
    const burst = Buffer.from('$g#67'.repeat(2000))
    for (let i = 0; i < 50; i++) {
      client.socket.write(burst)
      await sleep(1)
    }
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 2 ** 20)
  })
})

describe('listen', () => {
  it.each([
    [{}, 'gdb'],
    [{ port: 1, path: 'x' }, 'gdb'],
    [{ port: 65536 }, 'gdb.port'],
    [{ port: '1234' }, 'gdb.port'],
    [{ path: '' }, 'gdb.path'],
    [{ path: 'x'.repeat(108) }, 'gdb.path'],
    [{ path: '/no/such/folder/socket' }, 'gdb.path'],
    [{ port: 0, host: '' }, 'gdb.host'],
    [{ port: 0, host: '192.0.2.1' }, 'gdb.port'],
    [{ port: 0, other: 1 }, 'gdb.other'],
    [undefined, 'gdb'],
  ])('refuses %j', async (options, option) => {
    await using vm = await create()
    await expect(vm.gdb.listen(options as never)).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      option,
    })
    await vm.gdb.listen({ port: 0 })
  })

  it('is for once at a time, and ends with the machine', async () => {
    const vm = await create()
    const address = await vm.gdb.listen({ port: 0 })
    await expect(vm.gdb.listen({ port: 0 })).rejects.toMatchObject({ code: 'ERR_STATE' })
    using client = await GdbClient.connect(address)
    expect(await client.ask('?')).toBe('T02thread:1;')
    await vm.close()
    await client.closed
    await expect(GdbClient.connect(address)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await expect(vm.gdb.listen({ port: 0 })).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  })

  it('with wait, holds the guest until a client lets it go, or nobody listens any more', async () => {
    await using machine = await waiting()
    expect(await standsStill(machine.vm)).toBe(true)
    await machine.vm.gdb.close()
    await untilItCounts(machine.vm)
    await machine.vm.gdb.listen({ port: 0 })
  })

  it('before the machine starts, shows the first instruction', async () => {
    await using vm = await create()
    const address = await vm.gdb.listen({ port: 0 })
    using client = await GdbClient.connect(address)
    expect(await client.ask('p10')).toBe('0002000100000000')
    client.send('c')
    expect(await standsStill(vm)).toBe(true)
    await vm.start()
    await untilItCounts(vm)
  })
})
