import { spawn, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { Passt, type PasstOptions } from '../../../lib/backends/net/passt.js'
import * as net from '../../../lib/devices/virtio/net/abi.js'
import { freePort } from '../../helpers/free-port.js'
import { plainMemory } from '../../helpers/guest-memories.js'
import { arpRequest, isArpReplyFrom, NetRig } from '../../helpers/net-driver.js'
import { openFds } from '../../helpers/process-state.js'
import { turns, until } from '../../helpers/virtio-driver.js'

/** passt takes its guest's routes from an interface of the host with a default route: destination 0, mask 0. */
const routed = /^\w+\t00000000\t(\w+\t){5}00000000\t/m.test(readFileSync('/proc/net/route', 'utf8'))
const installed = spawnSync('passt', ['--version']).error === undefined
const absent = !installed || !routed
if (absent) {
  console.log(`passt is not tested: ${installed ? 'no default route' : 'it is not installed'}`)
}

const built = new URL('../../../dist/lib/devices.js', import.meta.url)

const MAC = '52:54:00:12:34:59'
const GUEST = '10.0.2.15'
const GATEWAY = '10.0.2.2'
const ADDRESSES = { mac: MAC, address: GUEST, prefixLength: 24, gateway: GATEWAY }

/** The sum of 16-bit words that IP headers carry. */
function checksum(bytes: readonly number[]): number[] {
  let sum = 0
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return [(~sum >> 8) & 0xff, ~sum & 0xff]
}

const u16 = (value: number) => [value >> 8, value & 0xff]
const ip = (text: string) => text.split('.').map(Number)

/** A datagram from the guest; without a checksum, which UDP over IPv4 need not have. */
function datagram(to: Uint8Array, target: string, ports: [number, number], data: string) {
  const payload = [...Buffer.from(data)]
  const header = [
    ...[0x45, 0, ...u16(28 + payload.length), 0, 1, 0, 0, 64, 17],
    ...[0, 0, ...ip(GUEST), ...ip(target)],
  ]
  header.splice(10, 2, ...checksum(header))
  const mac = MAC.split(':').map((byte) => Number.parseInt(byte, 16))
  const udp = [...u16(ports[0]), ...u16(ports[1]), ...u16(8 + payload.length), 0, 0]
  return Uint8Array.from([...to, ...mac, 8, 0, ...header, ...udp, ...payload])
}

const isIp = (frame: Uint8Array, protocol: number) =>
  frame[12] === 8 && frame[13] === 0 && frame[23] === protocol
const portsOf = (frame: Uint8Array) => [
  (frame[34]! << 8) | frame[35]!,
  (frame[36]! << 8) | frame[37]!,
]

describe.skipIf(absent)('Passt', () => {
  const rigs: NetRig[] = []
  let links: boolean[] = []

  async function start(options: PasstOptions = {}): Promise<{ rig: NetRig; passt: Passt }> {
    const passt = new Passt({ ...ADDRESSES, ...options })
    await passt.open()
    links = []
    const rig = new NetRig(passt, plainMemory([0, 0x200000]), { onLink: (up) => links.push(up) })
    rigs.push(rig)
    rig.driver.start([net.VIRTIO_NET_F_STATUS], 64)
    rig.buffers(32)
    return { rig, passt }
  }

  /** Asks who the gateway is, which also tells passt who the guest is. */
  async function gatewayMac(rig: NetRig): Promise<Uint8Array> {
    rig.send(arpRequest(MAC, GUEST, GATEWAY))
    const { frame } = await rig.receive(isArpReplyFrom(GATEWAY))
    return frame.slice(6, 12)
  }

  afterEach(async () => {
    for (const rig of rigs.splice(0)) {
      const { pid } = rig.backend as Passt
      expect(rig.errors).toEqual([])
      expect(rig.reasons).toEqual([])
      await rig.close()
      if (pid !== undefined) expect(() => process.kill(pid, 0)).toThrow('ESRCH')
    }
  })

  it('carries datagrams from the guest to the host and back', async () => {
    const { rig } = await start()
    const server = createSocket('udp4')
    server.bind(0, '127.0.0.1')
    await once(server, 'listening')
    server.on('message', (data, from) => server.send(`${data} yourself`, from.port, from.address))
    const mac = await gatewayMac(rig)
    const { port } = server.address()
    rig.send(datagram(mac, GATEWAY, [4000, port], 'hello'))
    const { frame } = await rig.receive((bytes) => isIp(bytes, 17) && portsOf(bytes)[1] === 4000)
    expect(Buffer.from(frame.subarray(42)).toString()).toBe('hello yourself')
    server.close()
  })

  it('forwards ports of the host', async () => {
    const [tcp, udp] = [await freePort(), await freePort()]
    const { rig } = await start({
      forwards: [
        { hostAddress: '127.0.0.1', hostPort: tcp, guestPort: 80 },
        { protocol: 'udp', hostAddress: '127.0.0.1', hostPort: udp, guestPort: 53 },
      ],
    })
    const mac = await gatewayMac(rig)
    const socket = createSocket('udp4')
    socket.send('question', udp, '127.0.0.1')
    const { frame } = await rig.receive((bytes) => isIp(bytes, 17) && portsOf(bytes)[1] === 53)
    expect(Buffer.from(frame.subarray(42)).toString()).toBe('question')
    const source = Buffer.from(frame.subarray(26, 30)).join('.')
    rig.send(datagram(mac, source, [53, portsOf(frame)[0]!], 'answer'))
    const [answer] = (await once(socket, 'message')) as [Buffer]
    expect(answer.toString()).toBe('answer')
    socket.close()

    const client = connect(tcp, '127.0.0.1')
    client.on('error', () => {})
    const syn = await rig.receive((bytes) => isIp(bytes, 6) && portsOf(bytes)[1] === 80)
    expect(syn.frame[47]! & 0x12).toBe(0x02) // SYN and not ACK
    client.destroy()
  })

  it('takes the link down when passt is killed, starts it again, and takes the link up', async () => {
    const { rig, passt } = await start()
    const first = passt.pid!
    await gatewayMac(rig)
    const exit = once(passt, 'exit')
    const restarted = once(passt, 'restart')
    process.kill(first, 'SIGKILL')
    expect(await exit).toMatchObject([{ code: null, signal: 'SIGKILL' }])
    expect(rig.device.link).toBe(false)
    expect(rig.device.config[net.CONFIG_STATUS]).toBe(0)
    rig.send(arpRequest(MAC, GUEST, GATEWAY))
    expect(rig.tx.used().length).toBeGreaterThan(0)
    await restarted
    expect(links).toEqual([false, true])
    expect(passt.pid).not.toBe(first)
    await gatewayMac(rig)
  })

  it('stays down when told not to start it again', async () => {
    const { rig, passt } = await start({ restart: false })
    const exit = once(passt, 'exit')
    process.kill(passt.pid!, 'SIGKILL')
    await exit
    expect(links).toEqual([false])
    expect(passt.pid).toBeUndefined()
    rig.transport.reset()
    rig.driver.start([net.VIRTIO_NET_F_STATUS], 64)
    expect(rig.device.link).toBe(false)
  })

  it('is closed while it is being started again', async () => {
    const { rig, passt } = await start()
    const exit = once(passt, 'exit')
    process.kill(passt.pid!, 'SIGKILL')
    await exit
    await new Promise((resolve) => setTimeout(resolve, 105))
    await rig.backend.close()
    expect(passt.pid).toBeUndefined()
  })

  it('is closed though passt has been stopped, and holds up no guest meanwhile', async () => {
    const { rig, passt } = await start()
    process.kill(passt.pid!, 'SIGSTOP')
    for (let i = 0; i < 3000; i++) {
      rig.send(new Uint8Array(1500).fill(0xff))
      expect(rig.tx.used()).toHaveLength(1)
      if (i % 100 === 0) await turns()
    }
  })

  it('says in its own words why it does not start', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    const passt = new Passt({
      ...ADDRESSES,
      forwards: [{ hostAddress: '127.0.0.1', hostPort: port }],
    })
    const error = await passt.open().catch((e) => e)
    expect(error).toMatchObject({ code: 'ERR_NET' })
    expect(error.message).toMatch(/passt ended with status 1: .*\d+/)
    server.close()
    await passt.close()
    const wrong = await new Passt({ args: ['--no-such-option'] }).open().catch((e) => e)
    expect(wrong).toMatchObject({ code: 'ERR_NET', option: 'args' })
  })

  it.skipIf(!existsSync(built))('ends with a process that is killed', async () => {
    const script = `
      const { Passt } = await import(${JSON.stringify(built.href)})
      const passt = new Passt(${JSON.stringify(ADDRESSES)})
      await passt.open()
      console.log(passt.pid)
      setInterval(() => {}, 1000)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script])
    const [text] = (await once(child.stdout, 'data')) as [Buffer]
    const pid = Number(text)
    expect(process.kill(pid, 0)).toBe(true)
    child.kill('SIGKILL')
    await until(() => !existsSync(`/proc/${pid}/fd`), 'the end of passt')
  })

  it('is opened and closed over and over, and leaves nothing', async () => {
    const passt = new Passt(ADDRESSES)
    await passt.open()
    await passt.close()
    const before = openFds()
    for (let i = 0; i < 5; i++) {
      await passt.open()
      await expect(passt.open()).rejects.toMatchObject({ code: 'ERR_STATE' })
      await passt.close()
      await passt.close()
    }
    await until(() => openFds() <= before, 'descriptors given back')
  })
})

describe('a Passt that cannot be', () => {
  it('names the Debian package if passt is missing', async () => {
    const error = await new Passt({ program: 'passt-that-is-absent' }).open().catch((e) => e)
    expect(error).toMatchObject({ code: 'ERR_MISSING_PROGRAM', option: 'program' })
    expect(error.message).toContain('apt-get install passt')
  })

  it.each<[string, unknown]>([
    ['forwards', 'x'],
    ['forwards[0]', 80],
    ['forwards[0].protocol', { protocol: 'sctp', hostPort: 80 }],
    ['forwards[0].hostAddress', { hostAddress: 'localhost', hostPort: 80 }],
    ['forwards[0].hostPort', { hostPort: 0 }],
    ['forwards[0].hostPort', { hostPort: 65536 }],
    ['forwards[0].hostPort', { hostPort: [90, 80] }],
    ['forwards[0].hostPort', { hostPort: [] }],
    ['forwards[0].guestPort', { hostPort: [80, 90], guestPort: 65530 }],
    ['address', ['10.0.2.15', '10.0.2.16']],
    ['address', 'a'],
    ['gateway', 7],
    ['dns', ['example.org']],
    ['prefixLength', 33],
    ['mtu', 1279],
    ['ipVersion', 5],
    ['restart', 'yes'],
    ['program', ''],
    ['args', ['a\0b']],
    ['mac', 'x'],
  ])('refuses %s', (option, value) => {
    const [name = '', inner] = option.split(/[[.]/)
    const options = { [name]: inner === undefined ? value : [value] }
    expect(() => new Passt(options as PasstOptions)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }),
    )
  })
})
