import { binding, type NativeTap } from '../../binding.js'
import { invalidOption, KvmError, VmmError } from '../../errors.js'
import { nativeAddressSpace } from '../native-memory.js'
import { checkMac, randomMac } from './mac-address.js'
import {
  type MacAddress,
  type NetAttachment,
  type NetBackend,
  type NetChannel,
  type NetOffloads,
  NO_OFFLOADS,
} from './net-backend.js'
import { TapChannel } from './tap-channel.js'
import { TUN_F_CSUM, TUN_F_TSO_ECN, TUN_F_TSO4, TUN_F_TSO6 } from './tun-abi.js'

export interface TapOptions {
  /** The guest's MAC address: a random one, locally administered, unless told. */
  mac?: MacAddress
  /** Create the interface if it is not there, for as long as it is open. `false` unless told. Needs CAP_NET_ADMIN. */
  create?: boolean
  /** Let the guest leave checksums and segmentation to the host, and the host to the guest. `true` unless told. */
  offloads?: boolean
}

/**
 * A TAP interface of the host: frames go to the host's network stack, or to the bridge that the interface is in.
 * @example `new Tap('tap0')`, after `ip tuntap add tap0 mode tap user $USER && ip link set tap0 up`
 */
export class Tap implements NetBackend {
  readonly name: string
  readonly mac: MacAddress
  readonly #create: boolean
  readonly #wantOffloads: boolean
  #offloads: NetOffloads = NO_OFFLOADS
  #native: NativeTap | undefined
  #channel: TapChannel | undefined

  /**
   * Opens nothing: see {@link Tap.open}.
   * @throws VmmError `ERR_INVALID_OPTION`
   */
  constructor(name: string, options: TapOptions = {}) {
    const { mac, create = false, offloads = true } = options
    if (
      typeof name !== 'string' ||
      !/^[^\s/:]{1,15}$/.test(name) ||
      name === '.' ||
      name === '..'
    ) {
      throw invalidOption('name', name, "the name of a TAP interface, such as 'tap0'")
    }
    for (const [option, value] of Object.entries({ create, offloads })) {
      if (typeof value !== 'boolean') throw invalidOption(option, value, 'true or false')
    }
    this.name = name
    this.mac = mac === undefined ? randomMac() : checkMac(mac)
    this.#create = create
    this.#wantOffloads = offloads
  }

  get offloads(): NetOffloads {
    return this.#offloads
  }

  /**
   * @throws VmmError `ERR_NET` if there is no such interface, it is no TAP, is in use, or may not be opened
   * @throws VmmError `ERR_STATE` if it is open already
   */
  async open(): Promise<void> {
    if (this.#native) throw new VmmError('ERR_STATE', `TAP ${this.name} is open already`)
    const native = this.#openNative()
    this.#offloads = this.#wantOffloads ? tapOffloads(native) : NO_OFFLOADS
    this.#native = native
  }

  attach(attachment: NetAttachment): NetChannel {
    if (!this.#native) throw new VmmError('ERR_STATE', `TAP ${this.name} is not open`)
    if (this.#channel)
      throw new VmmError('ERR_STATE', `TAP ${this.name} serves another device already`)
    const memory = nativeAddressSpace(attachment.memory)
    if (!memory)
      throw new VmmError('ERR_STATE', `TAP ${this.name} needs guest memory that a mapping backs`)
    this.#channel = new TapChannel(this.#native, memory, attachment)
    return this.#channel
  }

  async close(): Promise<void> {
    await this.#channel?.close()
    this.#channel = undefined
    this.#native?.close()
    this.#native = undefined
  }

  #openNative(): NativeTap {
    try {
      return new (binding().Tap)(this.name, this.#create, false)
    } catch (cause) {
      if (!(cause instanceof KvmError)) throw cause
      const [what, expected] = tapTrouble(cause)
      throw new VmmError('ERR_NET', `TAP ${this.name} ${what}: expected ${expected}`, {
        option: 'name',
        value: this.name,
        expected,
        cause,
      })
    }
  }
}

/** What the kernel's refusal means, and what would help. */
function tapTrouble({ code, syscall }: KvmError): readonly [what: string, expected: string] {
  if (syscall === 'open') {
    return code === 'ENOENT' || code === 'ENODEV' || code === 'ENXIO'
      ? ['cannot be used, /dev/net/tun is not there', 'a host with the tun module loaded']
      : ['may not be used', 'access to /dev/net/tun']
  }
  switch (code) {
    case 'ENODEV':
      return ['does not exist', 'a TAP interface, as made by `ip tuntap add NAME mode tap`']
    case 'EBUSY':
      return ['is in use', 'an interface that no other program has open']
    case 'EPERM':
      return [
        'may not be opened',
        'an interface made for this user, or the capability CAP_NET_ADMIN',
      ]
    case 'EINVAL':
      return ['is of another kind', 'a TAP interface with one queue']
    default:
      return [`cannot be opened: ${syscall} ${code}`, 'a TAP interface']
  }
}

/** The kernel takes offloaded frames from us in any case; what it would give us it tells by accepting the bits. */
function tapOffloads(native: NativeTap): NetOffloads {
  if (!native.setOffload(TUN_F_CSUM)) return NO_OFFLOADS
  const has = (bits: number) => native.setOffload(TUN_F_CSUM | bits)
  const offloads = {
    checksum: true,
    tso4: has(TUN_F_TSO4),
    tso6: has(TUN_F_TSO6),
    tsoEcn: has(TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN),
    ufo: false, // kernels from 4.14 on to 6.x differ in what they make of it, and no guest misses it
  }
  native.setOffload(0)
  return offloads
}
