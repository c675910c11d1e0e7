import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { VirtualMachine } from '../../lib/index.js'
import * as guest from './tiny-guest.js'

const MACHINES = 16

/** How often this thread has gone to sleep. */
function sleeps(): number {
  const status = readFileSync('/proc/thread-self/status', 'utf8')
  return Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)![1])
}

/** How often it does so while it has nothing to do for a second. */
async function sleepsOfASecond(): Promise<number> {
  const before = sleeps()
  const start = performance.now()
  await sleep(1000)
  return ((sleeps() - before) * 1000) / (performance.now() - start)
}

describe('idle machines', () => {
  it('wake the event loop together', async () => {
    const machines: VirtualMachine[] = []
    const add = async () => {
      const vm = await VirtualMachine.create({ kernel: guest.kernel(guest.halt), memory: '32M' })
      machines.push(vm)
      await vm.start()
      await sleep(100 / MACHINES)
    }
    try {
      await add()
      const ofOne = await sleepsOfASecond()
      while (machines.length < MACHINES) await add()
      // Each looks ten times a second for what its guest may have printed without an exit. The thread may sleep for other
      // reasons too, but not time and again.
      await expect.poll(sleepsOfASecond).toBeLessThan(2 * ofOne + 10)
    } finally {
      for (const vm of machines) await vm.close()
    }
  })
})
