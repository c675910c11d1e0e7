import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CaptureTarget } from '../../../lib/backends/net/net-backend.js'
import { CapturePoint } from '../../../lib/backends/net/pcap-capture.js'
import { Tap } from '../../../lib/backends/net/tap.js'
import { VirtualSwitch } from '../../../lib/backends/net/virtual-switch.js'
import * as net from '../../../lib/devices/virtio/net/abi.js'
import { nativeMemory, plainMemory } from '../../helpers/guest-memories.js'
import { arpRequest, isArpReplyFrom, NetRig } from '../../helpers/net-driver.js'
import { openFds } from '../../helpers/process-state.js'
import { noTapReason } from '../../helpers/tap-interface.js'
import { turns } from '../../helpers/virtio-driver.js'

const noTap = noTapReason()
const noTcpdump = spawnSync('tcpdump', ['--version']).error !== undefined
if (noTcpdump) console.log('captures are not read by tcpdump: it is not installed')

const MAC = '52:54:00:00:00:01'

interface Record {
  seconds: number
  nanoseconds: number
  length: number
  frame: Buffer
}

/** The classic format: https://www.tcpdump.org/manpages/pcap-savefile.5.txt */
function parse(file: Buffer): { snapLength: number; records: Record[] } {
  expect(file.readUInt32LE(0)).toBe(0xa1b23c4d)
  expect([file.readUInt16LE(4), file.readUInt16LE(6)]).toEqual([2, 4])
  expect([file.readUInt32LE(8), file.readUInt32LE(12)]).toEqual([0, 0])
  expect(file.readUInt32LE(20)).toBe(1)
  const records: Record[] = []
  for (let at = 24; at < file.length; ) {
    const kept = file.readUInt32LE(at + 8)
    records.push({
      seconds: file.readUInt32LE(at),
      nanoseconds: file.readUInt32LE(at + 4),
      length: file.readUInt32LE(at + 12),
      frame: file.subarray(at + 16, at + 16 + kept),
    })
    at += 16 + kept
    expect(at).toBeLessThanOrEqual(file.length)
  }
  return { snapLength: file.readUInt32LE(16), records }
}

describe('a capture', () => {
  let directory: string
  const file = () => join(directory, 'frames.pcap')

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'node-kvm-pcap-'))
  })
  afterEach(() => {
    rmSync(directory, { recursive: true })
  })

  function frame(length: number, fill: number): Uint8Array {
    const bytes = new Uint8Array(length).fill(fill)
    bytes.set([0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2, 0x88, 0xb5])
    return bytes
  }

  it('holds the frames of both directions in order, with their times', async () => {
    const network = new VirtualSwitch()
    const port = network.port({ mac: MAC })
    await port.open()
    const rig = new NetRig(port, plainMemory([0, 0x200000]))
    rig.driver.start([], 64)
    rig.buffers(8)
    const before = Date.now()
    const capture = rig.device.capture(file())
    expect(statSync(file()).mode & 0o777).toBe(0o600)
    rig.send(frame(60, 1))
    network.inject(frame(1000, 2))
    await turns(4)
    rig.send(frame(70, 3))
    await capture.stop()
    const after = Date.now()
    rig.send(frame(80, 4))
    expect(capture).toMatchObject({ frames: 3, dropped: 0, error: undefined })
    const { snapLength, records } = parse(readFileSync(file()))
    expect(snapLength).toBe(262144)
    expect(records.map(({ length }) => length)).toEqual([60, 1000, 70])
    expect(records.map(({ frame: bytes }) => bytes[20])).toEqual([1, 2, 3])
    for (const { seconds, nanoseconds } of records) {
      expect(nanoseconds).toBeLessThan(1e9)
      const at = seconds * 1000 + nanoseconds / 1e6
      expect(at).toBeGreaterThan(before - 2000)
      expect(at).toBeLessThan(after + 2000)
    }
    await capture.stop()
    const again = port.capture(file(), { snapLength: 20 })
    expect(() => rig.device.capture(file())).toThrow(expect.objectContaining({ code: 'ERR_STATE' }))
    rig.send(frame(60, 1))
    await rig.close() // which ends it
    const short = parse(readFileSync(file()))
    expect(short).toMatchObject({ snapLength: 20, records: [{ length: 60 }] })
    expect(short.records[0]!.frame).toHaveLength(20)
    expect(again.frames).toBe(1)
    expect(() => port.capture(file())).toThrow(expect.objectContaining({ code: 'ERR_STATE' }))
  })

  it.skipIf(noTap !== undefined)('holds what passes a TAP', async () => {
    const host = '10.215.7.1'
    const tap = new Tap('nkc%d', { create: true, mac: MAC, address: `${host}/24` })
    await tap.open()
    const capture = tap.capture(file())
    const rig = new NetRig(tap, nativeMemory([0, 0x200000]))
    rig.driver.start([net.VIRTIO_NET_F_MRG_RXBUF], 64)
    rig.buffers(32)
    const question = arpRequest(MAC, '10.215.7.2', host)
    rig.send(question)
    const { frame: answer } = await rig.receive(isArpReplyFrom(host))
    await capture.stop()
    rig.send(question)
    await rig.receive(isArpReplyFrom(host))
    const { records } = parse(readFileSync(file()))
    const arps = records.filter(({ frame: bytes }) => bytes[12] === 8 && bytes[13] === 6)
    expect(arps.map(({ frame: bytes }) => Uint8Array.from(bytes))).toEqual([question, answer])
    expect(capture.frames).toBe(records.length)
    if (!noTcpdump) {
      const args = ['-nn', '--time-stamp-precision=nano', '-r', file(), 'arp']
      const text = execFileSync('tcpdump', args, { encoding: 'utf8', stdio: 'pipe' })
      expect(text).toContain(`Request who-has ${host} tell 10.215.7.2, length 28`)
      expect(text).toMatch(/\.\d{9} ARP, Reply 10\.215\.7\.1 is-at/)
    }
    // A snap length cuts these too, and a buffer that one batch overflows drops and counts.
    const short = tap.capture(join(directory, 'short'), { snapLength: 33, bufferSize: 2 ** 16 })
    for (let i = 0; i < 20; i++) rig.send(question, undefined, 0x60000)
    await short.stop()
    const cut = parse(readFileSync(join(directory, 'short'))).records
    expect(
      cut.filter(({ frame: bytes, length }) => bytes.length === 33 && length === 42).length,
    ).toBe(20 + cut.filter(({ frame: bytes }) => bytes[21] === 2).length)
    await rig.close()
  })

  it.skipIf(noTap !== undefined)('of a TAP counts what one batch has too much of', async () => {
    const tap = new Tap('nkc%d', { create: true, mac: MAC, up: true })
    await tap.open()
    const rig = new NetRig(tap, nativeMemory([0, 0x200000]), { mtu: 65535 })
    rig.driver.start([], 64)
    const capture = tap.capture(file(), { bufferSize: 2 ** 16 })
    rig.memory.fill(0x60000, 12)
    rig.memory.write(0x6000c, frame(9000, 9))
    for (let i = 0; i < 40; i++) rig.tx.add([{ address: 0x60000, length: 9012 }])
    rig.driver.kick(1)
    expect(rig.device.counters.txFrames).toBe(40)
    await capture.stop()
    expect(capture.dropped).toBeGreaterThan(0)
    expect(capture.frames + capture.dropped).toBe(40)
    expect(parse(readFileSync(file())).records).toHaveLength(capture.frames)
    await rig.close()
  })

  it('drops and counts what a slow target does not take, and holds no more than it may', async () => {
    const slow = new Writable({ highWaterMark: 1, write: () => {} })
    const point = new CapturePoint()
    const capture = point.start('test', slow, { bufferSize: 2 ** 16 })
    for (let i = 0; i < 1000; i++) capture.frame(frame(1000, 1))
    expect(slow.writableLength).toBeLessThanOrEqual(2 ** 16)
    expect(capture.frames).toBeGreaterThan(50)
    expect(capture.frames + capture.dropped).toBe(1000)
    slow.destroy()
    await turns(3)
    expect(capture.error).toBeDefined()
    expect(point.active).toBeUndefined()
  })

  it('leaves a stream that it was given open', async () => {
    const stream = new PassThrough()
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    const point = new CapturePoint()
    const capture = point.start('test', stream)
    capture.frame(frame(60, 1))
    await capture.stop()
    expect(stream.writable).toBe(true)
    expect(parse(Buffer.concat(chunks)).records).toHaveLength(1)
    expect(stream.listenerCount('error')).toBe(0)
  })

  it('ends by itself when its target fails, and says why', async () => {
    const point = new CapturePoint()
    const full = point.start('test', '/dev/full')
    full.frame(frame(60, 1))
    await expect(full.stop()).rejects.toMatchObject({ code: 'ERR_NET' })
    expect(full.error?.message).toContain('ENOSPC')
    const before = openFds()
    const closed = createWriteStream(file())
    const capture = point.start('test', closed)
    closed.destroy()
    await once(closed, 'close')
    await turns(2)
    capture.frame(frame(60, 1))
    expect(capture.error).toBeDefined()
    expect(openFds()).toBeLessThanOrEqual(before)
    point.start('test', file())
    await point.close()
  })

  it('of a FIFO waits for its reader without holding anything up', async () => {
    execFileSync('mkfifo', [file()])
    const point = new CapturePoint()
    const capture = point.start('test', file())
    capture.frame(frame(60, 1))
    const reader = import('node:fs/promises').then(({ readFile }) => readFile(file()))
    await capture.stop()
    expect(parse(await reader).records).toHaveLength(1)
  })

  it.each<[string, unknown, object | undefined, string]>([
    ['target', '', undefined, 'ERR_INVALID_OPTION'],
    ['target', 7, undefined, 'ERR_INVALID_OPTION'],
    ['target', {}, undefined, 'ERR_INVALID_OPTION'],
    ['target', new PassThrough().end(), undefined, 'ERR_INVALID_OPTION'],
    ['target', '/nonexistent/file', undefined, 'ERR_NET'],
    ['target', '/tmp', undefined, 'ERR_NET'],
    ['snapLength', 'x', { snapLength: 0 }, 'ERR_INVALID_OPTION'],
    ['snapLength', 'x', { snapLength: 262145 }, 'ERR_INVALID_OPTION'],
    ['bufferSize', 'x', { bufferSize: 65535 }, 'ERR_INVALID_OPTION'],
    ['bufferSize', 'x', { bufferSize: Number.NaN }, 'ERR_INVALID_OPTION'],
  ])('refuses a wrong %s', (option, target, options, code) => {
    const point = new CapturePoint()
    const wrong = target as CaptureTarget
    expect(() => point.start('test', wrong, options)).toThrow(
      expect.objectContaining({ code, option }),
    )
    expect(point.active).toBeUndefined()
  })
})
