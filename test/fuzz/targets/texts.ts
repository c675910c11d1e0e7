import { PassThrough } from 'node:stream'
import { FrameStream } from '../../../lib/backends/net/frame-stream.js'
import { VmmError } from '../../../lib/errors.js'
import { parseConfig } from '../../../lib/machine/machine-config.js'
import { parseByteSize } from '../../../lib/util/byte-size.js'
import { check, type FuzzTarget } from './target.js'

const encoder = new TextEncoder()
const text = (data: Uint8Array) => Buffer.from(data).toString('utf8')

function orVmmError(action: () => unknown): void {
  try {
    action()
  } catch (error) {
    if (!(error instanceof VmmError)) throw error
    check(error.message.length < 2000, 'a message of more than 2,000 characters')
  }
}

export const configuration: FuzzTarget = {
  about: 'options of a machine, as JSON',
  seeds: () =>
    [
      { kernel: 'vmlinuz', memory: '256M', cpus: 2 },
      { kernel: 'k', vsock: { cid: 3 }, virtioConsole: { ports: ['a'] }, balloon: {}, rng: true },
      {
        kernel: 'k',
        topology: { sockets: 1, cores: 2, threads: 1 },
        console: { bufferSize: 4096 },
      },
      {
        kernel: 'k',
        flatBinary: { mode: 'long', address: 1048576 },
        discovery: 'acpi',
        acpi: true,
      },
      { kernel: 'k', disks: [{ backend: {}, queues: 2 }], nets: [{ backend: {}, link: 'up' }] },
    ].map((options) => encoder.encode(JSON.stringify(options))),
  run: (data) => {
    let options: unknown
    try {
      options = JSON.parse(text(data))
    } catch {
      return
    }
    orVmmError(() => parseConfig(options as Parameters<typeof parseConfig>[0]))
    check(Object.keys(Object.prototype).length === 0, 'a prototype has changed')
  },
}

export const byteSize: FuzzTarget = {
  about: 'sizes in bytes, as text',
  seeds: () => ['256M', '1.5 GiB', '0x10', '4096'].map((size) => encoder.encode(size)),
  run: (data) => orVmmError(() => parseByteSize(text(data))),
}

export const frames: FuzzTarget = {
  about: 'frames in a stream, each behind its length',
  seeds: () => [Uint8Array.from([0, 0, 0, 2, 1, 2, 0, 0, 0, 1, 9])],
  run: async (data) => {
    const stream = new PassThrough()
    let taken = 0
    const frames = new FrameStream(stream, {
      frame: (frame) => {
        taken += frame.length
        return true
      },
      ended: () => {},
    })
    for (let at = 0; at < data.length; at += 7) stream.write(data.subarray(at, at + 7))
    await new Promise((resolve) => setImmediate(resolve))
    check(taken <= data.length, 'more came out than went in')
    frames.close()
    stream.destroy()
  },
}
