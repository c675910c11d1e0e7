import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { again, type Figure, figure, samplesOf, type Target } from './figure.js'

/** What every monitor of a comparison is given. */
export interface GuestSpec {
  readonly kernel: string
  readonly initrd: string
  readonly commandLine: string
  readonly memoryMiB: number
  /** 1 unless told. */
  readonly cpus?: number
  readonly disks?: readonly GuestDisk[]
  /** The name of a TAP interface, for a network card. */
  readonly tap?: string
  /** Whether the host's kernel moves its frames (vhost-net). */
  readonly vhost?: boolean
}

/** A raw image. */
export interface GuestDisk {
  readonly path: string
  readonly readOnly?: boolean
  /** How QEMU does its I/O: `io_uring` unless told. */
  readonly aio?: 'io_uring' | 'threads'
}

/** A monitor as the benchmarks start it: the guest's serial console is its standard output. */
export interface Monitor {
  readonly name: string
  command(guest: GuestSpec): string[]
}

const CLI = new URL('../../bundle/cli/main.cjs', import.meta.url).pathname

/** @param options more for `node-kvm run` */
function ours(name: string, options: readonly string[]): Monitor {
  return {
    name,
    command: ({ kernel, initrd, commandLine, memoryMiB, cpus = 1, disks = [], tap, vhost }) => [
      ...[process.execPath, CLI, 'run', '--emulate=never', ...options],
      ...['--kernel', kernel, '--initrd', initrd, '--append', commandLine],
      ...['--memory', `${memoryMiB}M`, '--cpus', `${cpus}`],
      ...disks.flatMap(({ path, readOnly }) => ['--disk', readOnly ? `${path},readonly` : path]),
      ...(tap === undefined ? [] : ['--net', `tap=${tap}${vhost ? ',vhost' : ''}`]),
    ],
  }
}

export const nodeKvm = ours('node-kvm', ['--transport=mmio'])
/** What takes a guest to init soonest. */
export const nodeKvmOnce = ours('node-kvm', ['--transport=mmio', '--decompress=once'])
export const nodeKvmPci = ours('node-kvm', ['--transport=pci'])

/** @param device what a virtio device's name ends in: `pci` or `device` */
function qemu(name: string, machine: readonly string[], device: 'pci' | 'device'): Monitor {
  // An I/O thread for each disk, and the host's page cache, as ours has it.
  const disk = ({ path, readOnly = false, aio = 'io_uring' }: GuestDisk, i: number) => [
    ...['-object', `iothread,id=thread${i}`],
    '-drive',
    `file=${path},if=none,id=disk${i},format=raw,cache=writeback,aio=${aio},readonly=${readOnly ? 'on' : 'off'}`,
    ...['-device', `virtio-blk-${device},drive=disk${i},iothread=thread${i}`],
  ]
  const net = (tap: string, vhost: string) => [
    ...['-netdev', `tap,id=net,ifname=${tap},script=no,downscript=no,vhost=${vhost}`],
    ...['-device', `virtio-net-${device},netdev=net${device === 'pci' ? ',romfile=' : ''}`],
  ]
  return {
    name,
    command: ({ kernel, initrd, commandLine, memoryMiB, cpus = 1, disks = [], tap, vhost }) => [
      ...['qemu-system-x86_64', ...machine, '-accel', 'kvm', '-cpu', 'host', '-smp', `${cpus}`],
      ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-serial', 'stdio'],
      ...['-m', `${memoryMiB}`, '-kernel', kernel, '-initrd', initrd, '-append', commandLine],
      ...disks.flatMap(disk),
      ...(tap === undefined ? [] : net(tap, vhost ? 'on' : 'off')),
    ],
  }
}

/** virtio-mmio as of virtio 1, which is what ours has. */
const MODERN = ['-global', 'virtio-mmio.force-legacy=false']

export const qemuQ35 = qemu('QEMU q35', ['-M', 'q35'], 'pci')
export const qemuMicrovm = qemu('QEMU microvm', ['-M', 'microvm', ...MODERN], 'device')
/** microvm with what slows its boot left out: no option ROMs, PIT and PIC off, an RTC. */
export const qemuMicrovmTuned = qemu(
  'QEMU microvm, tuned',
  ['-M', 'microvm,rtc=on,x-option-roms=off,pit=off,pic=off', ...MODERN],
  'device',
)

/** kvmtool, which Debian 12 has no package of: for machines where `lkvm` is in PATH. */
export const kvmtool: Monitor = {
  name: 'kvmtool',
  command: ({ kernel, initrd, commandLine, memoryMiB, cpus = 1, disks = [], tap }) => [
    ...['lkvm', 'run', '--console', 'serial', '--kernel', kernel, '--initrd', initrd],
    ...['--mem', `${memoryMiB}`, '--cpus', `${cpus}`, '--params', commandLine],
    ...disks.flatMap(({ path, readOnly }) => ['--disk', readOnly ? `${path},ro` : path]),
    ...['--network', tap === undefined ? 'mode=none' : `mode=tap,tapif=${tap},script=none`],
  ],
}

/** The same, its network card served by the host's kernel. */
export function withVhost({ name, command }: Monitor): Monitor {
  return { name, command: (guest) => command({ ...guest, vhost: true }) }
}

/** Ours beside a peer whose devices are on the same transport. */
export interface Match {
  /** For titles: `virtio-pci`, and what else is different. */
  readonly transport: string
  readonly ours: Monitor
  readonly peer: Monitor
}

/**
 * The matches for benchmarks of devices. microvm without what slows its boot: its devices are the same, and with the PIC
 * and the PIT it is not always through with a benchmark in an emulated host.
 */
export function deviceMatches(): readonly Match[] {
  const mmio: Match = { transport: 'virtio-mmio', ours: nodeKvm, peer: qemuMicrovmTuned }
  const pci = { transport: 'virtio-pci', ours: nodeKvmPci } as const
  return [{ ...pci, peer: qemuQ35 }, mmio, ...(hasKvmtool() ? [{ ...pci, peer: kvmtool }] : [])]
}

export function hasKvmtool(): boolean {
  const folders = (process.env.PATH ?? '').split(':')
  return folders.some((folder) => existsSync(join(folder, 'lkvm')))
}

/** A figure to be made of a value that {@link compareMatches} measures. */
export interface Comparison {
  /** The value's. */
  readonly name: string
  readonly title: string
  readonly unit: string
  readonly target: Target
}

/**
 * Measures every monitor of the matches in turn, `runs` times. One that fails is left out from then on, a value that is
 * not there every time is too, and both are said.
 * @param note for the peers' names
 */
export async function compareMatches(
  runs: number,
  matches: readonly Match[],
  measure: (monitor: Monitor) => Promise<ReadonlyMap<string, number>>,
  comparisons: readonly Comparison[],
  note = '',
): Promise<Figure[]> {
  const taken = new Map<Monitor, ReadonlyMap<string, number>[]>()
  for (const { ours, peer } of matches) taken.set(ours, []).set(peer, [])
  for (let run = 0; run < runs; run++) {
    for (const [monitor, maps] of taken) {
      try {
        maps.push(await again(() => measure(monitor)))
      } catch (error) {
        process.stderr.write(`${monitor.name} is left out: ${(error as Error).message}\n`)
        taken.delete(monitor)
      }
    }
  }
  const whole = matches.filter(({ ours, peer }) => taken.has(ours) && taken.has(peer))
  return whole.flatMap(({ transport, ours, peer }) =>
    comparisons.flatMap(({ name, title, unit, target }) => {
      try {
        const samples = samplesOf(taken.get(ours)!, name)
        const against = { name: peer.name + note, samples: samplesOf(taken.get(peer)!, name) }
        return figure(`${title}, ${transport}`, unit, target, samples, against)
      } catch (error) {
        process.stderr.write(`${title} against ${peer.name}: ${(error as Error).message}\n`)
        return []
      }
    }),
  )
}
