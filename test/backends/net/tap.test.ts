import { execFileSync, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { existsSync, readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { afterEach, describe, expect, it } from 'vitest'
import { Tap, type TapOptions } from '../../../lib/backends/net/tap.js'
import { binding } from '../../../lib/binding.js'
import * as net from '../../../lib/devices/virtio/net/abi.js'
import { nativeMemory } from '../../helpers/guest-memories.js'
import { arpRequest, isArpReplyFrom, NetRig } from '../../helpers/net-driver.js'
import { foreignEnvironment, openFds } from '../../helpers/process-state.js'
import { noTapReason } from '../../helpers/tap-interface.js'
import { turns, until } from '../../helpers/virtio-driver.js'

const reason = noTapReason()
if (reason !== undefined) console.log(`TAP interfaces are not made: ${reason}`)

const built = new URL('../../../dist/lib/devices.js', import.meta.url)

const MAC = '52:54:00:12:34:5a'
const HOST = `10.216.${1 + (process.pid % 250)}.1`
const GUEST = HOST.replace(/1$/, '2')

const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] })
const sys = (name: string, file: string) =>
  readFileSync(`/sys/class/net/${name}/${file}`, 'utf8').trim()
const isUp = (name: string) => (Number(sys(name, 'flags')) & 1) === 1

/** Has an interface send a frame as it is, which needs a socket that Node has none of. */
function sendRaw(name: string, frame: Buffer): void {
  const program = `import socket
packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
packet.bind(('${name}', 0))
packet.send(bytes.fromhex('${frame.toString('hex')}'))`
  execFileSync('python3', ['-c', program], { env: foreignEnvironment })
}

describe.skipIf(reason !== undefined)('a TAP that is made for the user', () => {
  const taps: Tap[] = []
  async function make(options: TapOptions, name = 'nkm%d'): Promise<Tap> {
    const tap = new Tap(name, { create: true, ...options })
    taps.push(tap)
    await tap.open()
    return tap
  }
  afterEach(async () => {
    for (const tap of taps.splice(0)) await tap.close()
  })

  it('is up, goes with its program, and has what it was given', async () => {
    const address = [`${HOST}/28`, 'fd00:6e6b::1/64']
    const tap = await make({ address, mtu: 9000 })
    expect(tap.name).toMatch(/^nkm\d+$/)
    expect(isUp(tap.name)).toBe(true)
    expect(sys(tap.name, 'mtu')).toBe('9000')
    expect(tap.mtu).toBe(9000)
    const has = networkInterfaces()[tap.name]?.map(({ cidr }) => cidr)
    expect(has).toContain(`${HOST}/28`)
    expect(ip('-6', 'address', 'show', 'dev', tap.name).toString()).toContain('fd00:6e6b::1/64')
    await tap.close()
    expect(existsSync(`/sys/class/net/${tap.name}`)).toBe(false)
  })

  it('is closed by another thread', async () => {
    const native = new (binding().Tap)('nkm%d', true, false)
    const path = `/sys/class/net/${native.name}`
    expect(existsSync(path)).toBe(true)
    const closed = native.close()
    expect(closed).toBeInstanceOf(Promise)
    expect(native.fd).toBe(-1)
    await Promise.all([closed, native.close()])
    expect(existsSync(path)).toBe(false)
  })

  it('stays down if told to', async () => {
    expect(isUp((await make({ up: false })).name)).toBe(false)
    expect(isUp((await make({})).name)).toBe(true)
  })

  it('stays for its owner, who may open it', async () => {
    const tap = await make({ owner: 65534, address: `${HOST}/24` })
    const { name } = tap
    await tap.close()
    try {
      expect(sys(name, 'owner')).toBe('65534')
      expect(isUp(name)).toBe(true)
    } finally {
      ip('link', 'del', name)
    }
  })

  it('joins a bridge', async () => {
    const bridge = `nkb${process.pid % 100000}`
    try {
      ip('link', 'add', bridge, 'type', 'bridge')
    } catch {
      console.log('no bridge can be made here')
      return
    }
    try {
      const tap = await make({ bridge })
      expect(existsSync(`/sys/class/net/${bridge}/brif/${tap.name}`)).toBe(true)
    } finally {
      ip('link', 'del', bridge)
    }
  })

  it('leaves nothing behind where it cannot be configured', async () => {
    const before = openFds()
    const error = await make({ bridge: 'nk-no-bridge' }).catch((e) => e)
    expect(error).toMatchObject({ code: 'ERR_NET', option: 'bridge', value: 'nk-no-bridge' })
    expect(error.message).toContain('ENODEV')
    expect(openFds()).toBe(before)
    const address = await make({ address: '240.0.0.1/24', queues: 2 }).catch((e) => e)
    if (address instanceof Error) expect(address).toMatchObject({ option: 'address' })
    expect(openFds() - before).toBeLessThanOrEqual(2)
  })

  it.skipIf(!existsSync(built))('is refused to a user who may not, by name', () => {
    // As nobody, where the addon may be read by nobody.
    const script = `
      const { Tap } = await import(${JSON.stringify(built.href)})
      const say = (error) => console.log(JSON.stringify({ code: error.code, option: error.option, expected: error.expected }))
      process.setgroups([]); process.setgid(65534); process.setuid(65534)
      await new Tap('nkx%d', { create: true }).open().catch(say)
      await new Tap('lo').open().catch(say)`
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
    })
    const [made, opened] = stdout.trim().split('\n')
    expect(JSON.parse(made!)).toMatchObject({ code: 'ERR_NET', option: 'name' })
    expect(JSON.parse(opened!)).toMatchObject({ code: 'ERR_NET', option: 'name' })
  })

  it.each<[string, unknown]>([
    ['create', 'yes'],
    ['offloads', 1],
    ['up', 'yes'],
    ['address', '10.0.0.1'],
    ['address', '10.0.0.1/33'],
    ['address', '10.0.0/24'],
    ['address', 'fd00::1/129'],
    ['address', ['10.0.0.1/24', 7]],
    ['mtu', 67],
    ['mtu', 65536],
    ['bridge', ''],
    ['bridge', 'a/b'],
    ['owner', -1],
    ['owner', 'root'],
  ])('has a wrong %s', (option, value) => {
    expect(() => new Tap('tap0', { [option]: value })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }),
    )
  })
})

describe.skipIf(reason !== undefined)('virtio-net over a TAP that has trouble', () => {
  let tap: Tap
  let rig: NetRig

  async function start(features: number[] = [], options: TapOptions = {}): Promise<void> {
    tap = new Tap('nkf%d', { create: true, mac: MAC, address: `${HOST}/24`, ...options })
    await tap.open()
    rig = new NetRig(tap, nativeMemory([0, 0x200000]))
    rig.driver.start(features, 64)
    rig.buffers(32)
  }
  const arp = () => arpRequest(MAC, GUEST, HOST)
  const answered = () => rig.receive(isArpReplyFrom(HOST))

  /** Sends without end until told otherwise, and counts what has come back. */
  function load(): { returned: () => number; stop: () => Promise<void> } {
    let going = true
    let returned = 0
    const running = (async () => {
      while (going) {
        returned += rig.tx.used().length
        for (let i = rig.tx.freeCount; i > 0; i--) rig.send(arp())
        await turns()
      }
    })()
    const stop = () => {
      going = false
      return running
    }
    return { returned: () => returned, stop }
  }

  afterEach(async () => {
    expect(rig.errors).toEqual([])
    expect(rig.reasons).toEqual([])
    await rig.close()
  })

  it('is set down and up again under load, which the guest sees as its cable', async () => {
    await start([net.VIRTIO_NET_F_STATUS])
    const linked = (up: boolean) =>
      until(
        () => rig.device.link === up && rig.device.config[net.CONFIG_STATUS] === (up ? 1 : 0),
        `the link to be ${up ? 'up' : 'down'}`,
      )
    const { returned, stop } = load()
    for (let round = 0; round < 3; round++) {
      ip('link', 'set', tap.name, 'down')
      const { txDropped } = rig.device.counters
      await linked(false)
      await until(() => rig.device.counters.txDropped > txDropped + 200, 'drops')
      ip('link', 'set', tap.name, 'up')
      await linked(true)
      const at = rig.device.counters.txFrames
      await until(() => rig.device.counters.txFrames > at + 200, 'frames')
    }
    await stop()
    expect(returned()).toBeGreaterThan(1000)
    expect(rig.device.link).toBe(true)
    rig.tx.used()
    rig.send(arp())
    await answered()
  })

  it('is deleted under load: the link goes down, chains still come back', async () => {
    await start([net.VIRTIO_NET_F_STATUS])
    const { stop } = load()
    await until(() => rig.device.counters.txFrames > 100, 'load')
    ip('link', 'del', tap.name)
    await until(() => !rig.device.link, 'the link to go down')
    await stop()
    expect(rig.device.config[net.CONFIG_STATUS]).toBe(0)
    rig.tx.used()
    rig.send(arp())
    expect(rig.tx.used()).toHaveLength(1)
  })

  it.each([1, 2])('is deleted and made again, with %d queues', async (queues) => {
    await start([net.VIRTIO_NET_F_STATUS, net.VIRTIO_NET_F_MQ, net.VIRTIO_NET_F_CTRL_VQ], {
      queues,
    })
    const { name } = tap
    rig.send(arp())
    await answered()
    ip('link', 'del', name)
    await until(() => !rig.device.link, 'the link to go down')
    ip('tuntap', 'add', name, 'mode', 'tap', ...(queues > 1 ? ['multi_queue'] : []))
    try {
      ip('address', 'add', `${HOST}/24`, 'dev', name)
      ip('link', 'set', name, 'up')
      await until(() => rig.device.link, 'the link to come up')
      await until(() => sys(name, 'operstate') !== 'down', 'a carrier')
      rig.tx.used()
      rig.send(arp())
      await answered()
    } finally {
      await tap.close()
      ip('link', 'del', name)
    }
  })

  it('is deleted while nothing is sent', async () => {
    await start([net.VIRTIO_NET_F_STATUS])
    await turns(3)
    ip('link', 'del', tap.name)
    await until(() => !rig.device.link, 'the link to go down')
    rig.transport.reset()
    rig.driver.start([net.VIRTIO_NET_F_STATUS], 64)
    expect(rig.device.link).toBe(false)
  })

  it('has no carrier while the link is down', async () => {
    await start([net.VIRTIO_NET_F_STATUS])
    rig.send(arp())
    await answered()
    rig.device.setLink(false)
    await until(() => sys(tap.name, 'operstate') === 'down', 'no carrier')
    rig.device.setLink(true)
    await until(() => sys(tap.name, 'operstate') !== 'down', 'a carrier')
    rig.tx.used()
    rig.send(arp())
    await answered()
  })

  /** A command of the control queue: class, number, data. */
  function command(...bytes: number[]): void {
    rig.memory.write(0x70000, Uint8Array.from(bytes))
    rig.driver.queues[2]!.add([
      { address: 0x70000, length: bytes.length },
      { address: 0x70100, length: 1, writable: true },
    ])
    rig.driver.kick(2)
    expect(rig.memory.read(0x70100, 1)[0]).toBe(net.VIRTIO_NET_OK)
    rig.driver.queues[2]!.used()
  }

  it('filters in the addon what the guest does not want', async () => {
    await start([
      net.VIRTIO_NET_F_CTRL_VQ,
      net.VIRTIO_NET_F_CTRL_RX,
      net.VIRTIO_NET_F_CTRL_RX_EXTRA,
      net.VIRTIO_NET_F_CTRL_MAC_ADDR,
    ])
    rig.send(arp())
    await answered()
    command(0, 0, 0) // not promiscuous
    rig.send(arp())
    await answered()
    command(1, 1, 0x52, 0x54, 0, 0, 0, 0x99) // another address than the host knows
    const { filtered } = tap
    rig.send(arp())
    await until(() => tap.filtered > filtered, 'a frame that is filtered out')
    command(0, 2, 1) // every unicast
    rig.send(arp())
    await answered()
  })

  it('filters in the addon by VLAN', async () => {
    await start([net.VIRTIO_NET_F_CTRL_VQ, net.VIRTIO_NET_F_CTRL_RX, net.VIRTIO_NET_F_CTRL_VLAN])
    let number = 0
    const send = (vlan: number) => {
      const frame = Buffer.alloc(60)
      frame.fill(0xff, 0, 6) // to all
      frame.set([0x81, 0, 0x20, vlan, ++number], 12)
      sendRaw(tap.name, frame)
    }
    /** The VLAN and the number of the next that comes with one. */
    const received = async () => {
      const { frame } = await rig.receive((frame) => frame[12] === 0x81 && frame[13] === 0)
      return [frame[15], frame[16]]
    }
    command(net.VIRTIO_NET_CTRL_RX, net.VIRTIO_NET_CTRL_RX_PROMISC, 0)
    send(5)
    send(0) // a priority alone
    expect(await received()).toEqual([0, 2])
    command(net.VIRTIO_NET_CTRL_VLAN, net.VIRTIO_NET_CTRL_VLAN_ADD, 5, 0)
    send(6)
    send(5)
    expect(await received()).toEqual([5, 4])
  })

  it('holds received frames to the MTU', async () => {
    await start([net.VIRTIO_NET_F_MTU], { mtu: 1280 })
    expect(new DataView(rig.device.config.buffer).getUint16(net.CONFIG_MTU, true)).toBe(1280)
    rig.send(arp())
    await answered()
    ip('link', 'set', tap.name, 'mtu', '1500') // behind the device's back
    const socket = createSocket('udp4')
    const { filtered } = tap
    socket.send(Buffer.alloc(1280 - 27), 9, GUEST)
    await until(() => tap.filtered > filtered, 'a frame that is too long')
    socket.send(Buffer.alloc(1280 - 28), 9, GUEST)
    await rig.receive((frame) => frame.length === 14 + 1280)
    socket.close()
  })

  it('turns receive offloads off and on for its driver', async () => {
    const offloads = [net.VIRTIO_NET_F_GUEST_CSUM, net.VIRTIO_NET_F_GUEST_TSO4]
    await start([
      net.VIRTIO_NET_F_CTRL_VQ,
      net.VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
      net.VIRTIO_NET_F_MRG_RXBUF,
      ...offloads,
    ])
    const set = (mask: bigint, length = 8): number => {
      const bytes = new Uint8Array(2 + length)
      bytes[0] = net.VIRTIO_NET_CTRL_GUEST_OFFLOADS
      if (length === 8) new DataView(bytes.buffer).setBigUint64(2, mask, true)
      rig.memory.write(0x70000, bytes)
      rig.driver.queues[2]!.add([
        { address: 0x70000, length: bytes.length },
        { address: 0x70100, length: 1, writable: true },
      ])
      rig.driver.kick(2)
      rig.driver.queues[2]!.used()
      return rig.memory.read(0x70100, 1)[0]!
    }
    expect(set(0n)).toBe(net.VIRTIO_NET_OK)
    expect(set(1n << BigInt(net.VIRTIO_NET_F_GUEST_CSUM))).toBe(net.VIRTIO_NET_OK)
    expect(set(1n << BigInt(net.VIRTIO_NET_F_GUEST_TSO6))).toBe(net.VIRTIO_NET_ERR)
    expect(set(1n << 63n)).toBe(net.VIRTIO_NET_ERR)
    expect(set(0n, 7)).toBe(net.VIRTIO_NET_ERR)
    rig.send(arp())
    await answered()
  })
})
