import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { FileDisk } from '../../lib/index.js'
import { symbolFile } from '../helpers/symbol-file.js'
import type { Guest } from './guest.js'
import { diskRounds, exec, StockGuest, temporaryDisk } from './stock-guest.js'

const PAUSES = 100
/** Milliseconds of one long pause: the guest's clocks must not show it. */
const LONG_PAUSE = 3000

/** Writes to the disk and reads it back until it is told to stop, and says its clock, in seconds, when it is asked for it. */
const script = `
  for cpu in 0 1 2 3; do
    t=/sys/devices/system/cpu/cpu$cpu/topology
    echo "place of $cpu: $(cat $t/physical_package_id) $(cat $t/core_id)"
  done
  grep -m1 '^model name' /proc/cpuinfo
  grep -m1 '^flags' /proc/cpuinfo
  grep -E ' (do_sys_openat2|vfs_read)$' /proc/kallsyms | sed 's/^/symbol: /'
  ${diskRounds(8)}
  echo ready
  while read line; do
    [ "$line" = stop ] && break
    read now rest < /proc/uptime
    echo "clock $line: $now"
  done
  touch /done
  wait`

/** The guest's clock, in milliseconds, at some moment of this call. */
async function clock(guest: Guest, name: string): Promise<number> {
  guest.vm.console.input.write(`${name}\n`)
  const answer = new RegExp(`^clock ${name}: ([\\d.]+)\r\n`, 'm')
  await guest.said(answer)
  return 1000 * Number(answer.exec(guest.log)![1])
}

it('a guest with four processors of a named model is paused a hundred times, and debugged', async () => {
  using disk = await temporaryDisk()
  await using guest = await StockGuest.start(`nokaslr ${exec(script)}`, {
    topology: { sockets: 2, cores: 2 },
    cpu: { model: 'x86-64-v2', features: { rdrand: false } },
    disks: [new FileDisk(disk.path)],
  })
  const { vm } = guest
  await guest.said('ready\r\n')
  for (let i = 0; i < PAUSES; i++) {
    await vm.pause()
    await vm.resume()
    await sleep(i % 10)
  }
  const start = performance.now()
  const before = await clock(guest, 'before')
  await vm.pause()
  await sleep(LONG_PAUSE)
  await vm.resume()
  const after = await clock(guest, 'after')
  // However long all else takes: with the pause in it the guest's time could not be shorter than this by so much.
  expect(after - before).toBeLessThan(performance.now() - start - LONG_PAUSE / 2)

  const symbols = [...guest.log.matchAll(/^symbol: ([\da-f]{16}) \w (\w+)/gm)].map(
    ([, address, name]) => ({ name: name!, address: BigInt(`0x${address}`) }),
  )
  expect(symbols).toHaveLength(2)
  const file = join(disk.folder, 'symbols')
  writeFileSync(file, symbolFile(symbols))
  const socket = join(disk.folder, 'gdb')
  await vm.gdb.listen({ path: socket })
  const commands = [
    // Seconds for an answer; two by itself.
    ...[
      'set remotetimeout 120',
      `target remote ${socket}`,
      'info threads',
      'break do_sys_openat2',
      'continue',
    ],
    ...['x/i $rip', 'p $rip == do_sys_openat2', 'stepi', 'p $rip != do_sys_openat2', 'delete'],
    ...['break vfs_read', 'continue', 'p $rip == vfs_read', 'p $cs', 'detach'],
  ]
  const { stdout } = await promisify(execFile)('gdb', [
    ...['-nx', '-batch', file],
    ...commands.flatMap((command) => ['-ex', command]),
  ])
  expect(stdout.match(/Thread \d+ \(vCPU \d, \w+\)/g)!.length).toBeGreaterThanOrEqual(4)
  expect(stdout).toMatch(/hit Breakpoint 1, 0x\w+ in do_sys_openat2 \(\)/)
  expect(stdout).toMatch(/hit Breakpoint 2, 0x\w+ in vfs_read \(\)/)
  expect([...stdout.matchAll(/^\$\d+ = (.*)$/gm)].map(([, value]) => value)).toEqual([
    ...['1', '1', '1', '16'],
  ])

  vm.console.input.write('stop\n')
  expect(await guest.ended()).toEqual({ kind: 'shutdown' })
  expect(Number(/^rounds: (\d+)/m.exec(guest.log)?.[1])).toBeGreaterThan(0)
  // Of what a guest says about its TSC at boot, before all this, nothing is wrong.
  const since = guest.log.slice(guest.log.indexOf('ready\r\n'))
  for (const wrong of ['write failed', 'other data', 'cmp:', 'unstable', 'stall']) {
    expect(since).not.toContain(wrong)
  }
  for (const [cpu, place] of ['0 0', '0 1', '1 0', '1 1'].entries()) {
    expect(guest.log).toContain(`place of ${cpu}: ${place}\r\n`)
  }
  expect(guest.log).toMatch(/^model name\s+: x86-64-v2\r$/m)
  const flags = /^flags\s+: (.*)$/m.exec(guest.log)![1]!.trim().split(' ')
  expect(flags).toEqual(expect.arrayContaining(['sse4_2', 'popcnt', 'cx16', 'x2apic']))
  for (const flag of ['avx', 'rdrand', 'bmi1']) expect(flags).not.toContain(flag)
})
