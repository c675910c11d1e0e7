import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import * as blk from '../../lib/devices/virtio/block/abi.js'
import { BlockRig } from '../helpers/block-driver.js'
import { nativeMemory } from '../helpers/guest-memories.js'

// The example imports the package by its own name: here its sources stand for that.
vi.mock('node-kvm', async () => await import('../../lib/index.js'))
vi.mock('node-kvm/testing', async () => await import('../../lib/testing.js'))
const { httpDisk } = await import('../../examples/04-http-disk.js')

const SECTORS = 1000 // the last block is not a whole one
const image = Uint8Array.from({ length: SECTORS * 512 }, (_, i) => (i * 7 + (i >> 9)) & 0xff)
const DATA = 0x80000

let server: Server
let url: string
let requests: string[]
/** What the server does instead of answering properly. */
let status: number | undefined
let etag: string

beforeEach(async () => {
  requests = []
  status = undefined
  etag = '"one"'
  server = createServer((request, response) => {
    const { range = '' } = request.headers
    requests.push(`${request.method} ${range}`)
    const match = /^bytes=(\d+)-(\d+)$/.exec(range)
    response.setHeader('etag', etag)
    if (status !== undefined) response.writeHead(status).end()
    else if (request.method === 'HEAD')
      response.writeHead(200, { 'content-length': image.length }).end()
    else if (match === null || request.headers['if-range'] !== etag)
      response.writeHead(200).end(image)
    else response.writeHead(206).end(image.subarray(Number(match[1]), Number(match[2]) + 1))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk.img`
})
afterEach(() => {
  server.closeAllConnections()
  server.close()
})

async function rigOf(): Promise<BlockRig> {
  const disk = await httpDisk(url)
  await disk.open()
  const rig = new BlockRig(disk, nativeMemory([0, 0x200000]))
  rig.driver.start()
  return rig
}

const read = async (rig: BlockRig, sector: number, sectors: number) => {
  const data = [{ address: DATA, length: sectors * 512, writable: true }]
  const { status } = await rig.request(blk.VIRTIO_BLK_T_IN, sector, data)
  return status === blk.VIRTIO_BLK_S_OK ? rig.memory.read(DATA, sectors * 512) : status
}
const write = async (rig: BlockRig, sector: number, bytes: Uint8Array) => {
  rig.memory.write(DATA, bytes)
  const data = [{ address: DATA, length: bytes.length }]
  return (await rig.request(blk.VIRTIO_BLK_T_OUT, sector, data)).status
}

it('examples/04-http-disk reads what it needs by range requests, once', async () => {
  const rig = await rigOf()
  expect(rig.backend.capacity).toBe(image.length)
  expect(await read(rig, 200, 1)).toEqual(image.slice(200 * 512, 201 * 512))
  expect(await read(rig, 201, 8)).toEqual(image.slice(201 * 512, 209 * 512))
  expect(requests).toEqual(['HEAD ', 'GET bytes=65536-131071'])
  expect(await read(rig, 990, 10)).toEqual(image.slice(990 * 512))
  expect(requests.at(-1)).toBe('GET bytes=458752-511999')
  await rig.close()
})

it('examples/04-http-disk keeps what is written over the image, like a disk', async () => {
  const request = fc.record({
    sector: fc.nat(SECTORS - 1),
    sectors: fc.integer({ min: 1, max: 300 }),
    fill: fc.option(fc.nat(255)),
  })
  const before = image.slice()
  await fc.assert(
    fc.asyncProperty(fc.array(request, { maxLength: 12 }), async (steps) => {
      const rig = await rigOf()
      const model = image.slice()
      for (const { sector, sectors, fill } of steps) {
        const count = Math.min(sectors, SECTORS - sector)
        const start = sector * 512
        if (fill === null) {
          const data = (await read(rig, sector, count)) as Uint8Array
          expect(Buffer.compare(data, model.subarray(start, start + count * 512))).toBe(0)
        } else {
          expect(await write(rig, sector, new Uint8Array(count * 512).fill(fill))).toBe(0)
          model.fill(fill, start, start + count * 512)
        }
      }
      await rig.close()
    }),
    { numRuns: 12 },
  )
  expect(image).toEqual(before)
})

it('examples/04-http-disk gives the guest an error while the server does, and goes on after', async () => {
  const rig = await rigOf()
  status = 503
  expect(await read(rig, 0, 1)).toBe(blk.VIRTIO_BLK_S_IOERR)
  expect(await write(rig, 0, new Uint8Array(512))).toBe(blk.VIRTIO_BLK_S_IOERR)
  status = undefined
  expect(await read(rig, 0, 1)).toEqual(image.slice(0, 512))
  etag = '"two"' // another image in its place
  expect(await read(rig, 500, 1)).toBe(blk.VIRTIO_BLK_S_IOERR)
  expect(await read(rig, 1, 1)).toEqual(image.slice(512, 1024))
  await rig.close()
  status = 404
  await expect(httpDisk(url)).rejects.toThrow(/404/)
})
