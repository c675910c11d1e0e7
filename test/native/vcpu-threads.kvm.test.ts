import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { Bus } from '../../lib/bus/bus.js'
import { RunLoop } from '../../lib/machine/run-loop.js'
import { guestPrelude, runScript } from '../helpers/guest-script.js'
import { collect, limit, PATIENCE, slow } from '../helpers/process-state.js'
import * as asm from '../helpers/real-mode.js'
import { recorder, runLoopRig } from '../helpers/run-loop-rig.js'

/** The host threads of vCPUs in this process. */
function vcpuThreads(): string[] {
  return readdirSync('/proc/self/task')
    .map((id) => {
      try {
        return readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim()
      } catch {
        return '' // gone since
      }
    })
    .filter((name) => /^vcpu\d+$/.test(name))
    .sort()
}

const ended = (stdout = '') => ({ status: 0, signal: null, stdout, stderr: '' })

it('one thread has each vCPU, by name, until the channel closes', () => {
  const rig = runLoopRig([asm.spin, asm.spin, asm.spin])
  expect(vcpuThreads()).toEqual(['vcpu0', 'vcpu1', 'vcpu2'])
  rig[Symbol.dispose]()
  expect(vcpuThreads()).toEqual([])
})

describe('a Worker', () => {
  it.each([
    ['spins', 'guest(spin, spin)', 'answer(channel)'],
    ['exits', 'guest(reading, reading)', 'answer(channel)'],
    ['waits for an answer that never comes', 'guest(reading, spin)', '() => {}'],
    ['waits for a thread that never comes back', 'guest(reading, spin)', '() => { for (;;); }'],
    [
      'waits for room to post',
      '(() => { const made = guest(posting, posting); made.channel.addRoute({ space: "pio", base: 16, size: 1, posted: Uint32Array.of(0), latched: none }); return made })()',
      '() => {}',
    ],
  ])('can be terminated again and again while its guest %s', async (_what, make, onWork) => {
    const script = `${guestPrelude}
      const { channel, vm, vcpus } = ${make}
      channel.run(${onWork})
      parentPort.postMessage('runs')`
    for (let i = 0; i < (slow ? 4 : 20); i++) {
      const worker = new Worker(script, { eval: true })
      try {
        await once(worker, 'message') // rejects on 'error'
        if (i % 4 > 0) await sleep(i % 4)
        expect(vcpuThreads()).toHaveLength(2)
      } finally {
        await worker.terminate()
      }
      expect(vcpuThreads()).toEqual([])
    }
  })

  it('and the main thread have guests at once, and the one outlives the other', async () => {
    using rig = runLoopRig([asm.forever(asm.in8(0x10))])
    let reads = 0
    rig.pio.attach(
      0x10,
      1,
      recorder(() => reads++ & 0xff),
    )
    rig.loop.run()
    const worker = new Worker(
      `${guestPrelude}
      const { channel } = guest(reading)
      let exits = 0
      channel.run(answer(channel, () => { if (++exits === 1000) parentPort.postMessage(exits) }))`,
      { eval: true },
    )
    expect(await once(worker, 'message')).toEqual([1000])
    await worker.terminate()
    const before = reads
    while (reads < before + 1000) await sleep(1)
    expect(vcpuThreads()).toEqual(['vcpu0'])
  })

  it('ends by process.exit() of its own, and the process goes on', async () => {
    const worker = new Worker(
      `${guestPrelude}
      const { channel } = guest(spin, reading)
      channel.run(answer(channel, () => process.exit(3)))`,
      { eval: true },
    )
    expect(await once(worker, 'exit')).toEqual([3])
    expect(vcpuThreads()).toEqual([])
  })

  it('ends by itself once its guest is paused', async () => {
    const worker = new Worker(
      `${guestPrelude}
      const { channel } = guest(spin)
      channel.run(() => {})
      setTimeout(() => channel.pause(), 20)`,
      { eval: true },
    )
    expect(await once(worker, 'exit')).toEqual([0])
    expect(vcpuThreads()).toEqual([])
  })
})

describe('a process', () => {
  it.each([
    ['spinning', 'guest(spin, spin)'],
    ['exiting', 'guest(reading, reading)'],
  ])('with a %s guest ends at once by process.exit()', async (_what, make) => {
    const script = `
      const { channel } = ${make}
      channel.run(answer(channel))
      setTimeout(() => process.exit(7), 30)`
    for (let i = 0; i < 3; i++) {
      expect(await runScript(script)).toEqual({ ...ended(), status: 7 })
    }
  })

  it('ends by process.exit() in a handler', async () => {
    const script = `
      const { channel } = guest(reading, spin)
      channel.run(answer(channel, () => process.exit(8)))`
    expect(await runScript(script)).toEqual({ ...ended(), status: 8 })
  })

  it('ends by an uncaught exception, with its message and status', async () => {
    const script = `
      const { channel } = guest(spin, reading)
      channel.run(answer(channel))
      setTimeout(() => { throw new Error('not caught') }, 30)`
    const { status, signal, stderr } = await runScript(script)
    expect({ status, signal }).toEqual({ status: 1, signal: null })
    expect(stderr).toContain('Error: not caught')
  })

  it('learns of an exception in the function that takes the exits', async () => {
    const script = `
      const { channel } = guest(reading)
      process.on('uncaughtException', (error) => {
        console.log(error.message)
        channel.close()
      })
      channel.run(() => { throw new Error('in onWork') })`
    expect(await runScript(script)).toEqual(ended('in onWork\n'))
  })

  it('ends by a signal', async () => {
    const script = `
      const { channel } = guest(spin, reading)
      channel.run(answer(channel))
      setTimeout(() => process.kill(process.pid, 'SIGTERM'), 30)`
    expect(await runScript(script)).toEqual({ ...ended(), status: null, signal: 'SIGTERM' })
  })

  it('stays while a guest runs, and ends when it is paused, stopped or closed', async () => {
    for (const method of ['pause', 'stop', 'close']) {
      const script = `
        const { channel } = guest(spin)
        channel.run(() => {})
        setTimeout(() => { console.log('alive'); channel.${method}() }, 100).unref()`
      expect(await runScript(script)).toEqual(ended('alive\n'))
    }
  })

  it('stays for a guest that was resumed', async () => {
    const script = `
      const { channel } = guest(spin)
      let resumed = false
      const onWork = () => {
        channel.next(-1)
        if (!channel.parked || resumed) return
        resumed = true
        channel.run(onWork)
        setTimeout(() => { console.log('alive'); channel.stop() }, 50).unref()
      }
      channel.run(onWork)
      channel.pause()`
    expect(await runScript(script)).toEqual(ended('alive\n'))
  })

  it('does not stay for a guest that was unref()ed, unless ref() takes it back', async () => {
    const run = (milliseconds: number) => `
      const { channel } = guest(spin)
      setTimeout(() => { console.log('alive'); channel.stop() }, ${milliseconds}).unref()`
    for (const script of [
      'channel.unref(); channel.run(() => {})',
      'channel.run(() => {}); channel.unref()',
    ]) {
      expect(await runScript(`${run(PATIENCE)}; ${script}`)).toEqual(ended())
    }
    const taken = `${run(100)}; channel.run(() => {}); channel.unref(); channel.ref()`
    expect(await runScript(taken)).toEqual(ended('alive\n'))
  })

  it('that may queue no signal can pause and stop its guest all the same, and is told what run() lacks', () => {
    const script = `
      const { channel, vm } = guest(spin, reading)
      const vcpu = vm.createVcpu(2)
      try {
        vcpu.run()
      } catch (error) {
        console.log(error.message)
      }
      let exits = 0
      let parked = false
      const exit = answer(channel, () => { if (++exits === 100) channel.pause() })
      channel.run(() => {
        exit()
        if (!channel.parked || parked) return
        parked = true
        console.log('parked')
        setTimeout(() => channel.run(() => {}), 20)
        setTimeout(() => { channel.close(); console.log('closed') }, 40)
      })`
    // Of util-linux, and so on every Debian.
    const limited = ['--sigpending=0', process.execPath, '-e', guestPrelude + script]
    const run = () =>
      execFileSync('prlimit', limited, { encoding: 'utf8', timeout: limit(PATIENCE) })
    expect(run()).toBe('timer_create: EAGAIN\nparked\nclosed\n')
  })

  it('may get any number of signals meanwhile: none is an exit of a vCPU', async () => {
    const script = `
      const { channel } = guest(spin, reading)
      let exits = 0
      let signals = 0
      for (const name of ['SIGUSR2', 'SIGWINCH', 'SIGCHLD', 'SIGHUP']) process.on(name, () => signals++)
      channel.run(answer(channel, () => exits++))
      const storm = setInterval(() => {
        for (const name of ['SIGUSR2', 'SIGWINCH', 'SIGCHLD', 'SIGHUP']) process.kill(process.pid, name)
        if (signals < 400 || exits < 1000) return
        clearInterval(storm)
        const kicks = [channel.counters(0)[4], channel.counters(1)[4]]
        channel.stop()
        console.log(kicks.join())
      }, 1)`
    expect(await runScript(script)).toEqual(ended('0,0\n'))
  })

  it('can be profiled meanwhile', async () => {
    const script = `
      const { channel } = guest(reading, spin)
      const { Session } = require('node:inspector')
      const session = new Session()
      session.connect()
      session.post('Profiler.enable')
      session.post('Profiler.setSamplingInterval', { interval: 100 })
      session.post('Profiler.start')
      let exits = 0
      channel.run(answer(channel, () => {
        if (++exits < 5000) return false
        session.post('Profiler.stop', (error, { profile }) => {
          console.log(error === null, profile.samples.length > 10)
        })
        return true
      }))`
    expect(await runScript(script)).toEqual(ended('true true\n'))
  })
})

describe('a channel', () => {
  it('that was never closed goes with its threads when it is collected', async () => {
    await (async () => {
      const rigs = []
      for (let i = 0; i < 10; i++) {
        const rig = runLoopRig([asm.spin, asm.forever(asm.in8(0x10))])
        rigs.push(rig)
        if (i % 2 === 1) continue
        rig.loop.run()
        await rig.loop.pause()
      }
      expect(vcpuThreads()).toHaveLength(2 * rigs.length)
    })()
    expect(await collect(() => vcpuThreads().length === 0)).toBe(true)
  })

  it('that runs is not collected, though nobody holds it', async () => {
    let reads = 0
    let close: (() => void) | undefined
    ;(() => {
      const rig = runLoopRig([asm.forever(asm.in8(0x10))])
      const device = recorder(() => {
        reads++
        if (close === undefined && reads > 1000) close = () => rig[Symbol.dispose]()
        return 0
      })
      rig.pio.attach(0x10, 1, device)
      rig.loop.run()
    })()
    expect(await collect(() => vcpuThreads().length === 0)).toBe(false)
    const before = reads
    while (reads < before + 100) await sleep(1)
    close!()
    expect(vcpuThreads()).toEqual([])
  })

  it('can be made and closed 1,000 times', () => {
    for (let i = 0; i < 1000; i++) {
      using loop = new RunLoop({ pio: new Bus('pio'), mmio: new Bus('mmio'), onEnd: () => {} })
      expect(loop.counters()).toEqual([])
    }
    expect(vcpuThreads()).toEqual([])
  })

  it('among twelve in one thread gets its exits and no other’s', async () => {
    const rigs = Array.from({ length: 12 }, (_, i) => {
      const rig = runLoopRig([
        [...asm.repeat(300, [...asm.movAl(i), ...asm.out8(0x10)]), ...asm.hlt],
      ])
      const device = recorder(undefined, i % 2 ? { posted: [0] } : {})
      rig.pio.attach(0x10, 1, device)
      return { rig, device }
    })
    for (const { rig } of rigs) rig.loop.run()
    await Promise.all(rigs.map(({ rig }) => rig.ended))
    for (const [i, { rig, device }] of rigs.entries()) {
      expect(device.accesses).toEqual(new Array(300).fill(['write', 0, 1, i]))
      rig[Symbol.dispose]()
    }
  })
})
