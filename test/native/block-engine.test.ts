import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FileDisk } from '../../lib/backends/block/file-disk.js'
import { binding } from '../../lib/binding.js'
import * as blk from '../../lib/devices/virtio/block/abi.js'
import { BlockRig } from '../helpers/block-driver.js'
import { nativeMemory } from '../helpers/guest-memories.js'
import { openFds, threads, workerPrelude } from '../helpers/process-state.js'
import { until } from '../helpers/virtio-driver.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'node-kvm-engine-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

describe.each(['io_uring', 'threads'] as const)('a block engine by %s', (kind) => {
  it('in a Worker that is terminated takes its I/O with it, and nothing stays open', async () => {
    const path = join(folder, `worker-${kind}.img`)
    writeFileSync(path, Buffer.alloc(8 << 20, 'x'))
    const source = `${workerPrelude}
      const fs = require('node:fs')
      const mapping = new binding.Mapping(0x1000000)
      const memory = new binding.AddressSpace()
      memory.add(0, 0x1000000, mapping, 0)
      const requests = new Float64Array(4096)
      const completions = new Int32Array(128)
      const free = Array.from({ length: 64 }, (_, i) => i)
      const take = (count) => { for (let i = 0; i < count; i++) free.push(completions[2 * i]) }
      const engine = new binding.BlockEngine(workerData.kind, fs.openSync(workerData.path, 'r+'), memory, 64, requests, completions, take)
      const go = () => {
        let at = 0
        for (const tag of free.splice(0)) {
          const flush = tag % 8 === 0
          requests.set([flush ? 2 : 1, tag, flush ? 0 : (tag % 7) << 20, flush ? 0 : 0x40000, flush ? 0 : 1], at)
          at += 5
          if (flush) continue
          requests.set([(tag % 32) * 0x40000, 0x40000], at)
          at += 2
        }
        take(engine.submit(at))
      }
      go()
      parentPort.postMessage('up')
      setInterval(go, 1)
    `
    const before = { fds: openFds(), threads: threads() }
    for (let round = 0; round < 20; round++) {
      const worker = new Worker(source, { eval: true, workerData: { kind, path } })
      const failed = new Promise((_, reject) => worker.once('error', reject))
      await Promise.race([new Promise((resolve) => worker.once('message', resolve)), failed])
      await sleep(Math.random() * 4)
      await worker.terminate()
    }
    await until(
      () => openFds() <= before.fds && threads() <= before.threads + 1,
      'everything closed',
    )
  })

  it('refuses a batch that is malformed', () => {
    const path = join(folder, `batch-${kind}.img`)
    writeFileSync(path, Buffer.alloc(4096))
    const fd = openSync(path, 'r+')
    const memory = nativeMemory([0, 0x10000])
    const requests = new Float64Array(16)
    const engine = new (binding().BlockEngine)(
      kind,
      fd,
      memory.addressSpace,
      4,
      requests,
      new Int32Array(8),
      () => {},
    )
    const batches: number[][] = [
      [0],
      [0, 0, 0, 0],
      [0, 4, 0, 512, 0],
      [0, -1, 0, 512, 0],
      [0, 0, 0, 512, 2, 0, 512],
      [0, 0, 0, 512, 1e9],
      [Number.NaN, 0, 0, 512, 0],
      [0.5, 0, 0, 512, 0],
    ]
    for (const batch of batches) {
      requests.fill(0).set(batch)
      expect(() => engine.submit(batch.length), batch.join()).toThrow(/malformed/)
    }
    expect(() => engine.submit(17)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }))
    requests.set([5, 1, 0, 512, 0, 0, 2, 0, 512, 0])
    expect(engine.submit(10)).toBe(2) // an unknown operation, and a read into nothing: errors of their own
    engine.close()
    engine.close()
    expect(() => engine.submit(0)).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }))
    memory.close()
    closeSync(fd)
  })

  it('refuses arguments of other kinds', () => {
    const { BlockEngine } = binding()
    const memory = nativeMemory([0, 0x10000])
    const good = [kind, 0, memory.addressSpace, 4, new Float64Array(8), new Int32Array(8), () => {}]
    const bad: [number, unknown][] = [
      [0, 'aio'],
      [1, -1],
      [1, 1e6],
      [2, {}],
      [3, 0],
      [3, 1e9],
      [4, new Float32Array(8)],
      [5, new Int32Array(7)],
      [6, undefined],
    ]
    const before = openFds()
    for (const [at, value] of bad) {
      const args = (good as unknown[]).with(at, value) as ConstructorParameters<typeof BlockEngine>
      expect(() => new BlockEngine(...args), `${at}: ${String(value)}`).toThrow()
    }
    expect(openFds()).toBeLessThanOrEqual(before + 2 * bad.length) // what is half made goes with its wrapper
    memory.close()
  })
})

/** A file system of 1 MiB, or why there can be none. */
function smallFileSystem(): { path: string; remove(): void } | string {
  const path = mkdtempSync(join(tmpdir(), 'node-kvm-small-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', path], { stdio: 'pipe' })
  } catch (error) {
    rmSync(path, { recursive: true })
    return (error as Error).message
  }
  return {
    path,
    remove() {
      execFileSync('umount', [path])
      rmSync(path, { recursive: true })
    },
  }
}

describe('a disk on a file system that is full', () => {
  it.each(['io_uring', 'threads'] as const)(
    'gives errors until there is room again, by %s',
    async (engine) => {
      const small = smallFileSystem()
      if (typeof small === 'string') {
        console.log(`a full file system is not tested: ${small.split('\n')[0]}`)
        return
      }
      const path = join(small.path, 'disk.img')
      writeFileSync(path, '')
      truncateSync(path, 64 << 20)
      const disk = new FileDisk(path, { engine })
      await disk.open()
      const rig = new BlockRig(disk, nativeMemory([0, 0x200000]))
      rig.driver.start()
      const write = async (mebibyte: number) =>
        (
          await rig.request(blk.VIRTIO_BLK_T_OUT, mebibyte * 2048, [
            { address: 0x100000, length: 0x80000 },
          ])
        ).status
      expect(await write(0)).toBe(0)
      expect(await write(1)).toBe(0)
      expect(await write(2)).toBe(blk.VIRTIO_BLK_S_IOERR)
      const into = [{ address: 0x100000, length: 512, writable: true }]
      expect((await rig.request(blk.VIRTIO_BLK_T_IN, 0, into)).status).toBe(0)
      execFileSync('mount', ['-o', 'remount,size=4m', small.path])
      expect(await write(2)).toBe(0)
      expect(rig.errors).toEqual([])
      expect(rig.reasons).toEqual([])
      await rig.close()
      small.remove()
    },
  )
})
