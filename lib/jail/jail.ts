import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { invalidOption, VmmError } from '../errors.js'

/** What a program in the jail may do. Everything else is refused by the kernel, for it and all that it starts. */
export interface JailOptions {
  /** Files, or folders with all below them, to read. */
  read?: readonly string[]
  /** To read and to execute. */
  exec?: readonly string[]
  /** To read, write, create and remove in. */
  write?: readonly string[]
  /** Device files to open, with their ioctls. */
  devices?: readonly string[]
  /** What dynamically linked programs need of the system: `/usr`, `/lib`, `/bin`, a few of `/etc`, `/proc` and `/sys`. */
  system?: boolean
  /** `/dev/kvm`. */
  kvm?: boolean
  /** TCP ports to connect to, from 0 to 65535. */
  connect?: readonly number[]
  /** TCP ports to listen on. */
  bind?: readonly number[]
  /** Resource limits, as setrlimit(2) has them: bytes, seconds or numbers. */
  limits?: Partial<Record<JailLimit, number>>
  /** Descriptors that stay open besides 0, 1 and 2. */
  keepFds?: readonly number[]
  /** Ends with the thread that starts it, in whatever way that ends. `false` unless told. */
  dieWithParent?: boolean
  /** A filter that refuses system calls which reach far into the kernel: mounts, tracing, modules. `true` unless told. */
  filter?: boolean
  /** Go on where the kernel has no Landlock, or one older than Linux 6.12's, which lets more through. `false` unless told. */
  bestEffort?: boolean
}

const LIMITS = ['as', 'core', 'cpu', 'fsize', 'memlock', 'nofile', 'nproc', 'stack'] as const
/** A resource limit that a jail sets. */
export type JailLimit = (typeof LIMITS)[number]

/**
 * The path of `node-kvm-jail`, a small static program that comes with the addon.
 * @throws VmmError `ERR_ADDON` if it has not been built
 */
export function jailProgram(): string {
  const here = fileURLToPath(new URL('.', import.meta.url))
  const places = ['build/Release/node-kvm-jail', 'prebuilds/linux-x64/node-kvm-jail']
  for (let folder = here; folder !== dirname(folder); folder = dirname(folder)) {
    if (!existsSync(join(folder, 'binding.gyp'))) continue
    const found = places.map((place) => join(folder, place)).find((path) => existsSync(path))
    if (found !== undefined) return found
  }
  throw new VmmError('ERR_ADDON', 'node-kvm-jail has not been built; npm rebuild node-kvm does it')
}

/**
 * The program and arguments that start `program` in a jail, for `child_process.spawn`.
 * @param program an absolute path, in or below `exec` (or of `system`)
 * @throws VmmError `ERR_INVALID_OPTION` naming the option, `ERR_ADDON` if the launcher has not been built
 *
 * @example
 * ```ts
 * const [command, args] = jailCommand(
 *   { system: true, kvm: true, read: ['/srv/vm'], write: ['/srv/vm/disk.img'], limits: { nofile: 256 } },
 *   process.execPath,
 *   ['/srv/vm/run.mjs'],
 * )
 * spawn(command, args, { stdio: 'inherit' })
 * ```
 */
export function jailCommand(
  options: JailOptions,
  program: string,
  args: readonly string[] = [],
): [command: string, args: string[]] {
  if (typeof program !== 'string' || !program.startsWith('/')) {
    throw invalidOption('program', program, 'an absolute path')
  }
  const { system, kvm, filter = true, bestEffort, dieWithParent, limits = {} } = options
  return [
    jailProgram(),
    [
      ...(system ? ['--system'] : []),
      ...(kvm ? ['--kvm'] : []),
      ...(filter ? [] : ['--no-filter']),
      ...(bestEffort ? ['--best-effort'] : []),
      ...(dieWithParent ? ['--die-with-parent'] : []),
      ...paths('read', '--read', options.read),
      ...paths('exec', '--exec', options.exec),
      ...paths('write', '--write', options.write),
      ...paths('devices', '--device', options.devices),
      ...numbers('connect', '--connect', options.connect, 65_535),
      ...numbers('bind', '--bind', options.bind, 65_535),
      ...numbers('keepFds', '--keep-fd', options.keepFds, 0x7fff_ffff),
      ...Object.entries(limits).flatMap(([name, value]) => limit(name, value)),
      '--',
      program,
      ...args,
    ],
  ]
}

function paths(option: string, flag: string, given: readonly string[] = []): string[] {
  return given.flatMap((path, i) => {
    if (typeof path === 'string' && path !== '' && !path.includes('\0')) return [flag, path]
    throw invalidOption(`${option}[${i}]`, path, 'a path')
  })
}

function numbers(
  option: string,
  flag: string,
  given: readonly number[] = [],
  most: number,
): string[] {
  return given.flatMap((number, i) => {
    if (Number.isInteger(number) && number >= 0 && number <= most) return [flag, String(number)]
    throw invalidOption(`${option}[${i}]`, number, `an integer from 0 to ${most}`)
  })
}

function limit(name: string, value: number): string[] {
  if (!LIMITS.includes(name as JailLimit)) {
    throw invalidOption(`limits.${name}`, value, `a limit of ${LIMITS.join(', ')}`)
  }
  if (Number.isSafeInteger(value) && value >= 0) return ['--limit', `${name}=${value}`]
  throw invalidOption(`limits.${name}`, value, 'an integer from 0')
}
