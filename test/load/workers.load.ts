import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { beforeAll, describe, expect, it } from 'vitest'
import { Witness } from '../hostile/witness.js'
import { compileProgram } from './child.js'
import { held, heldMoreThan } from './machine.js'
import { times } from './size.js'

let program: string
beforeAll(async () => {
  program = await compileProgram('worker')
  const worker = await start()
  await worker.terminate()
})

async function start(): Promise<Worker> {
  const worker = new Worker(program)
  await once(worker, 'message')
  return worker
}

describe('Workers that run machines', () => {
  it('LOAD-17 are terminated at any moment', async () => {
    const before = held()
    for (let i = 0; i < times(200, 8); i++) {
      const worker = await start()
      await new Promise((resolve) => setTimeout(resolve, i % 20))
      await worker.terminate()
    }
    expect(await heldMoreThan(before)).toEqual([0, 0, 0])
  })

  it('LOAD-18 go on, and so does the main thread, when one of them ends', async () => {
    const witness = await Witness.start()
    const workers = await Promise.all(Array.from({ length: 4 }, start))
    while (workers.length > 0) {
      await workers.pop()!.terminate()
      await witness.expectProgress()
      for (const worker of workers) {
        worker.postMessage('go on')
        await once(worker, 'message')
      }
    }
    await witness.close()
  })
})
