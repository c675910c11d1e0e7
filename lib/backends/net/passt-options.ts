import { isIP, isIPv4 } from 'node:net'
import { invalidOption } from '../../errors.js'
import type { MacAddress } from './net-backend.js'

/** A port of the host's that leads into the guest. */
export interface PortForward {
  /** `'tcp'` unless told. */
  protocol?: 'tcp' | 'udp'
  /** The address of the host's to listen on: all unless told. `'127.0.0.1'` keeps the network out. */
  hostAddress?: string
  /** A port, or the first and the last of a range: 1 to 65535. */
  hostPort: number | readonly [first: number, last: number]
  /** The guest's port, or the first of the range: the same as the host's unless told. */
  guestPort?: number
}

/** What {@link Passt} takes. */
export interface PasstOptions {
  /** The guest's MAC address: a random one, locally administered, unless told. */
  mac?: MacAddress
  /** Ports of the host's that lead into the guest: none unless told. */
  forwards?: readonly PortForward[]
  /** The guest's addresses, by DHCP, DHCPv6 and NDP: those of the host unless told; at most one of IPv4 and one of IPv6. */
  address?: string | readonly string[]
  /** Prefix length of the IPv4 address, 1 to 32: the host's unless told. */
  prefixLength?: number
  /** The guest's gateways, which lead to the host itself: those of the host unless told. */
  gateway?: string | readonly string[]
  /** Name servers: those of the host unless told. */
  dns?: readonly string[]
  /** Bytes, 1280 to 65520, by DHCP and as the device's MTU. */
  mtu?: number
  /** `4` or `6` for one of the Internet protocols only: both unless told, as far as the host has them. */
  ipVersion?: 4 | 6
  /** Whether to start passt again when it has died. `true` unless told. */
  restart?: boolean
  /** `'passt'`, found by PATH, unless told. */
  program?: string
  /** Further arguments for passt, as its manual has them. */
  args?: readonly string[]
}

/** The options, checked. */
export interface PasstSettings {
  readonly program: string
  readonly args: readonly string[]
  readonly restart: boolean
  readonly mtu: number | undefined
}

/** @throws VmmError `ERR_INVALID_OPTION` */
export function checkPasstOptions(options: PasstOptions): PasstSettings {
  const { forwards = [], prefixLength, mtu, ipVersion, restart = true, args = [] } = options
  const { program = 'passt', dns } = options
  if (!Array.isArray(forwards)) throw invalidOption('forwards', forwards, 'an array of forwards')
  if (typeof restart !== 'boolean') throw invalidOption('restart', restart, 'true or false')
  if (typeof program !== 'string' || program === '' || program.includes('\0'))
    throw invalidOption('program', program, 'the name or path of passt')
  if (!Array.isArray(args) || args.some((arg) => typeof arg !== 'string' || arg.includes('\0')))
    throw invalidOption('args', args, 'an array of strings')
  if (ipVersion !== undefined && ipVersion !== 4 && ipVersion !== 6)
    throw invalidOption('ipVersion', ipVersion, '4 or 6')
  return {
    program,
    restart,
    mtu: mtu === undefined ? undefined : whole('mtu', mtu, 1280, 65520),
    args: [
      ...(ipVersion === undefined ? [] : [`-${ipVersion}`]),
      ...addresses('address', options.address).flatMap((address) => ['-a', address]),
      ...(prefixLength === undefined
        ? []
        : ['-n', String(whole('prefixLength', prefixLength, 1, 32))]),
      ...addresses('gateway', options.gateway).flatMap((address) => ['-g', address]),
      ...addresses('dns', dns).flatMap((address) => ['-D', address]),
      ...(mtu === undefined ? [] : ['-m', String(mtu)]),
      ...forwards.flatMap(forwardArguments),
      ...args,
    ],
  }
}

function forwardArguments(forward: PortForward, index: number): string[] {
  const option = `forwards[${index}]`
  if (typeof forward !== 'object' || forward === null)
    throw invalidOption(option, forward, 'a forward, such as { hostPort: 8080, guestPort: 80 }')
  const { protocol = 'tcp', hostAddress, hostPort, guestPort } = forward
  if (protocol !== 'tcp' && protocol !== 'udp')
    throw invalidOption(`${option}.protocol`, protocol, "'tcp' or 'udp'")
  if (hostAddress !== undefined && (typeof hostAddress !== 'string' || isIP(hostAddress) === 0))
    throw invalidOption(`${option}.hostAddress`, hostAddress, 'an IP address')
  const [first, last, ...more] = Array.isArray(hostPort) ? hostPort : [hostPort, hostPort]
  for (const port of [first, last]) whole(`${option}.hostPort`, port, 1, 65535)
  if (more.length > 0 || first > last)
    throw invalidOption(`${option}.hostPort`, hostPort, 'a port, or the first and last of a range')
  const ports = (from: number) => (first === last ? `${from}` : `${from}-${from + last - first}`)
  const target =
    guestPort === undefined
      ? ''
      : `:${ports(whole(`${option}.guestPort`, guestPort, 1, 65535 - (last - first)))}`
  const address = hostAddress === undefined ? '' : `${hostAddress}/`
  return [protocol === 'tcp' ? '-t' : '-u', `${address}${ports(first)}${target}`]
}

/** One address, or one of each kind; of name servers, any number. */
function addresses(option: string, value: string | readonly string[] | undefined): string[] {
  const list: unknown[] = value === undefined ? [] : Array.isArray(value) ? value : [value]
  for (const address of list)
    if (typeof address !== 'string' || isIP(address) === 0)
      throw invalidOption(option, address, 'an IP address')
  const strings = list as string[]
  const ofIpv4 = strings.filter((address) => isIPv4(address)).length
  if (option !== 'dns' && (ofIpv4 > 1 || strings.length - ofIpv4 > 1))
    throw invalidOption(option, value, 'at most one address of IPv4 and one of IPv6')
  return strings
}

function whole(option: string, value: unknown, least: number, most: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most)
    return value
  throw invalidOption(option, value, `a whole number from ${least} to ${most}`)
}
