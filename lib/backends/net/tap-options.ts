import { isIP } from 'node:net'
import { invalidOption } from '../../errors.js'
import type { MacAddress } from './net-backend.js'

/** What {@link Tap} takes. */
export interface TapOptions {
  /** The guest's MAC address: a random one, locally administered, unless told. */
  mac?: MacAddress
  /** Create the interface if it is not there, for as long as it is open. `false` unless told. Needs CAP_NET_ADMIN. */
  create?: boolean
  /** Let the guest leave checksums and segmentation to the host, and the host to the guest. `true` unless told. */
  offloads?: boolean
  /**
   * Queue pairs, 1 to 16: 1 unless told. More help a guest with several vCPUs. An interface that is there must have been
   * made for it: `ip tuntap add tap0 mode tap multi_queue`.
   */
  queues?: number
  /**
   * Have the host's kernel move the frames (vhost-net): `true` or not at all, `'auto'` where /dev/vhost-net can be used and
   * neither a rate limit nor anything else needs them to pass through this process. `false` unless told. Frames then
   * cannot be captured or filtered, and the counters are the interface's.
   */
  vhost?: boolean | 'auto'
  /** Addresses of the host on the interface, each with its prefix length: `'10.0.0.1/24'`. Needs CAP_NET_ADMIN. */
  address?: string | readonly string[]
  /** Bytes, 68 to 65535: sets it, and tells the guest. Needs CAP_NET_ADMIN. */
  mtu?: number
  /** A bridge of the host's that the interface joins. Needs CAP_NET_ADMIN. */
  bridge?: string
  /** Whether to set the interface up. Unless told, if this made it, addressed it or put it into a bridge. */
  up?: boolean
  /** The user, by number, who may open the interface from now on: it stays when it is closed. Needs CAP_NET_ADMIN. */
  owner?: number
}

export interface TapAddress {
  readonly text: string
  readonly address: string
  readonly prefixLength: number
}

/** The options, checked and completed. */
export interface TapSettings {
  readonly create: boolean
  readonly offloads: boolean
  readonly queues: number
  readonly vhost: boolean | 'auto'
  readonly addresses: readonly TapAddress[]
  readonly mtu: number | undefined
  readonly bridge: string | undefined
  readonly up: boolean | undefined
  readonly owner: number | undefined
}

/** @throws VmmError `ERR_INVALID_OPTION` */
export function checkTapOptions(options: TapOptions): TapSettings {
  const { create = false, offloads = true, queues = 1, vhost = false } = options
  const { address, mtu, bridge, up, owner } = options
  for (const [option, value] of Object.entries({ create, offloads, up: up ?? false })) {
    if (typeof value !== 'boolean') throw invalidOption(option, value, 'true or false')
  }
  if (typeof vhost !== 'boolean' && vhost !== 'auto')
    throw invalidOption('vhost', vhost, "true, false or 'auto'")
  const addresses = address === undefined ? [] : Array.isArray(address) ? address : [address]
  if (bridge !== undefined && (typeof bridge !== 'string' || !/^[^\s/:]{1,15}$/.test(bridge)))
    throw invalidOption('bridge', bridge, "the name of a bridge, such as 'br0'")
  return {
    create,
    offloads,
    queues: whole('queues', queues, 1, 16),
    vhost,
    addresses: addresses.map(checkAddress),
    mtu: mtu === undefined ? undefined : whole('mtu', mtu, 68, 65535),
    bridge,
    up,
    owner: owner === undefined ? undefined : whole('owner', owner, 0, 2 ** 32 - 2),
  }
}

function checkAddress(value: unknown): TapAddress {
  const [, address = '', digits = ''] =
    typeof value === 'string' ? (/^([0-9a-f.:]+)\/(\d{1,3})$/i.exec(value) ?? []) : []
  const bits = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1
  const prefixLength = Number(digits)
  if (digits === '' || prefixLength > bits)
    throw invalidOption(
      'address',
      value,
      "an address with its prefix length, such as '10.0.0.1/24'",
    )
  return { text: `${address}/${prefixLength}`, address, prefixLength }
}

function whole(option: string, value: unknown, least: number, most: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most)
    return value
  throw invalidOption(option, value, `a whole number from ${least} to ${most}`)
}
