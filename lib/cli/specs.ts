import { InvalidArgumentError } from 'commander'
import type { CpuModelName, MemoryKind, MemoryOptions } from '../index.js'
import { keyValue, splitSpec, unknownPart, wholeNumber } from './spec-parts.js'

/** `PATH[,readonly][,queues=N]` as given to `--disk`. */
export interface DiskSpec {
  path: string
  readOnly: boolean
  queues?: number
}

const DISK_EXPECTED = 'PATH[,readonly][,queues=N]'

/** `N[,sockets=N][,cores=N][,threads=N]` as given to `--cpus`. */
export interface CpusSpec {
  cpus: number
  topology?: { sockets?: number; cores?: number; threads?: number }
}

/** `PATH[,TEXT]` as given to `--module`. */
export interface ModuleSpec {
  image: string
  commandLine?: string
}

/** `[HOST:]PORT` or `PATH` as given to `--gdb`. */
export type GdbSpec = { port: number; host?: string } | { path: string }

/** `SIZE[,kind=KIND][,prefault][,mergeable][,locked]` as given to `--memory`. */
export type MemorySpec = string | MemoryOptions

/** `MODEL[,+FEATURE][,-FEATURE]` as given to `--cpu`. */
export interface CpuSpec {
  model: CpuModelName
  features: Record<string, boolean>
}

/** `TAG=PATH[,readonly]` as given to `--share`. */
export interface ShareSpec {
  tag: string
  path: string
  readOnly: boolean
}

/**
 * Reads `TAG=PATH[,readonly]`. A comma that belongs to the path is written twice.
 * @throws InvalidArgumentError naming what is not understood
 */
export function parseShareSpec(text: string): ShareSpec {
  const [first = '', ...parts] = splitSpec(text)
  const [tag, path] = keyValue(first)
  const expected = 'TAG=PATH[,readonly]'
  if (!tag || !path) throw new InvalidArgumentError(`expected ${expected}`)
  for (const part of parts) {
    if (part !== 'readonly') throw unknownPart(part, expected)
  }
  return { tag, path, readOnly: parts.length > 0 }
}

/** A port of the host's that leads into the guest. */
export interface ForwardSpec {
  protocol: 'tcp' | 'udp'
  hostAddress?: string
  hostPort: number
  guestPort: number
}

/** What is given to `--net`. */
export type NetSpec =
  | { kind: 'tap'; tap: string; mac?: string; queues?: number; vhost?: boolean | 'auto' }
  | { kind: 'passt'; mac?: string; forwards: ForwardSpec[] }

const NET_EXPECTED =
  'tap=NAME[,queues=N][,vhost[=auto]][,mac=ADDRESS] or passt[,forward=PROTOCOL:[ADDRESS:]HOST:GUEST][,mac=ADDRESS]'

/**
 * Reads `PATH[,readonly][,queues=N]`. A comma that belongs to the path is written twice, as QEMU has it.
 * @throws InvalidArgumentError naming what is not understood
 */
export function parseDiskSpec(text: string): DiskSpec {
  const [path, ...parts] = splitSpec(text)
  if (!path) throw new InvalidArgumentError(`expected ${DISK_EXPECTED}`)
  const spec: DiskSpec = { path, readOnly: false }
  for (const part of parts) {
    const [key, value] = keyValue(part)
    if (part === 'readonly') spec.readOnly = true
    else if (key === 'queues') spec.queues = wholeNumber(part, value ?? '')
    else throw unknownPart(part, DISK_EXPECTED)
  }
  return spec
}

/**
 * Reads `PATH[,TEXT]`. A comma that belongs to the path is written twice; those of the text are not.
 * @throws InvalidArgumentError if there is no path
 */
export function parseModuleSpec(text: string): ModuleSpec {
  const [, path, commandLine] = /^((?:[^,]|,,)+)(?:,(.*))?$/s.exec(text) ?? []
  if (path === undefined) throw new InvalidArgumentError('expected PATH[,TEXT]')
  const image = path.replaceAll(',,', ',')
  return commandLine === undefined ? { image } : { image, commandLine }
}

/**
 * Reads `N[,sockets=N][,cores=N][,threads=N]`.
 * @throws InvalidArgumentError naming what is not understood
 */
export function parseCpusSpec(text: string): CpusSpec {
  const [count = '', ...parts] = splitSpec(text)
  const spec: CpusSpec = { cpus: wholeNumber(count, count) }
  for (const part of parts) {
    const [key, value = ''] = keyValue(part)
    if (key !== 'sockets' && key !== 'cores' && key !== 'threads') {
      throw unknownPart(part, 'N[,sockets=N][,cores=N][,threads=N]')
    }
    spec.topology = { ...spec.topology, [key]: wholeNumber(part, value) }
  }
  return spec
}

/**
 * Reads `tap=NAME[,queues=N][,vhost[=auto]][,mac=ADDRESS]` or `passt[,forward=PROTOCOL:[ADDRESS:]HOST:GUEST…][,mac=ADDRESS]`.
 * @throws InvalidArgumentError naming what is not understood
 */
export function parseNetSpec(text: string): NetSpec {
  const parts = splitSpec(text)
  const spec = netKind(parts)
  for (const part of parts) {
    const [key, value = ''] = keyValue(part)
    if (part === 'passt' || key === 'tap') continue
    if (key === 'mac' && value) spec.mac = value
    else if (key === 'queues' && spec.kind === 'tap') spec.queues = wholeNumber(part, value)
    else if (part === 'vhost' && spec.kind === 'tap') spec.vhost = true
    else if (part === 'vhost=auto' && spec.kind === 'tap') spec.vhost = 'auto'
    else if (key === 'forward' && spec.kind === 'passt') spec.forwards.push(forward(part, value))
    else throw unknownPart(part, NET_EXPECTED)
  }
  return spec
}

/**
 * Reads `SIZE[,kind=KIND][,prefault][,mergeable][,locked]`.
 * @throws InvalidArgumentError naming what is not understood
 */
export function parseMemorySpec(text: string): MemorySpec {
  const [size = '', ...parts] = splitSpec(text)
  if (parts.length === 0) return size
  const spec: MemoryOptions = { size }
  for (const part of parts) {
    const [key, value] = keyValue(part)
    if (part === 'prefault' || part === 'mergeable' || part === 'locked') spec[part] = true
    else if (key === 'kind' && value) spec.kind = value as MemoryKind
    else throw unknownPart(part, 'SIZE[,kind=KIND][,prefault][,mergeable][,locked]')
  }
  return spec
}

/**
 * Reads `MODEL[,+FEATURE][,-FEATURE]`. Whether there are such a model and features is the machine's to say.
 * @throws InvalidArgumentError naming what is not understood
 */
export function parseCpuSpec(text: string): CpuSpec {
  const [model = '', ...parts] = splitSpec(text)
  const spec: CpuSpec = { model: model as CpuModelName, features: {} }
  for (const part of parts) {
    const [, sign, name] = /^([+-])(\w+)$/.exec(part) ?? []
    if (name === undefined) {
      throw unknownPart(part, 'MODEL[,+FEATURE][,-FEATURE]')
    }
    spec.features[name] = sign === '+'
  }
  return spec
}

/**
 * Reads `[HOST:]PORT`, or a path: whatever has a slash. An address of IPv6 is in brackets.
 * @throws InvalidArgumentError naming what is not understood
 */
export function parseGdbSpec(text: string): GdbSpec {
  if (text.includes('/')) return { path: text }
  const [, host, port] = /^(?:([^:]+|\[[\da-f:.]+\]):)?(\d+)$/i.exec(text) ?? []
  if (port === undefined || Number(port) > 65535) {
    throw new InvalidArgumentError('expected [HOST:]PORT or the path of a socket, such as ./gdb')
  }
  return { port: Number(port), ...(host && { host: host.replace(/[[\]]/g, '') }) }
}

function netKind(parts: readonly string[]): NetSpec {
  const kinds = parts.filter((part) => part === 'passt' || keyValue(part)[0] === 'tap')
  const [kind = '', ...more] = kinds
  const tap = keyValue(kind)[1]
  if (more.length > 0 || (kind !== 'passt' && !tap)) {
    throw new InvalidArgumentError(`expected ${NET_EXPECTED}`)
  }
  return tap ? { kind: 'tap', tap } : { kind: 'passt', forwards: [] }
}

/** The host's address may be of IPv6, in brackets. */
function forward(part: string, text: string): ForwardSpec {
  const [, protocol, address, host, guest] =
    /^(tcp|udp):(?:([\d.]+|\[[\da-f:.]+\]):)?(\d+):(\d+)$/i.exec(text) ?? []
  if (protocol === undefined) {
    throw new InvalidArgumentError(
      `'${part}' is no forward; expected one such as forward=tcp:8080:80 or forward=tcp:127.0.0.1:8080:80`,
    )
  }
  return {
    protocol: protocol.toLowerCase() as 'tcp' | 'udp',
    ...(address === undefined ? {} : { hostAddress: address.replace(/[[\]]/g, '') }),
    hostPort: Number(host),
    guestPort: Number(guest),
  }
}

/**
 * Reads `[ADDRESS:]PORT`; an address of IPv6 is in brackets.
 * @throws InvalidArgumentError naming what is expected
 */
export function parseListenSpec(text: string): { host?: string; port: number } {
  const [, host, port] = /^(?:([^:[\]]+|\[[\da-f:.]+\]):)?(\d{1,5})$/i.exec(text) ?? []
  if (port === undefined) throw new InvalidArgumentError('expected [ADDRESS:]PORT')
  const listen = { port: Number(port) }
  return host === undefined ? listen : { ...listen, host: host.replace(/[[\]]/g, '') }
}
