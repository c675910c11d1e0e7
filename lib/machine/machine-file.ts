import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { FileDisk } from '../backends/block/file-disk.js'
import type { NetBackend } from '../backends/net/net-backend.js'
import { Passt } from '../backends/net/passt.js'
import { Tap } from '../backends/net/tap.js'
import { checkRateLimit } from '../devices/virtio/rate-limiter.js'
import { VmmError } from '../errors.js'
import { blameOption } from './blame-option.js'
import type { DiskOptions, NetOptions, ShareOptions } from './device-options.js'
import type { VirtualMachineOptions } from './machine-options.js'
import * as check from './option-checks.js'

// What is written here is what a file says otherwise than the options do: paths, disks and cards. The rest goes to
// VirtualMachine.create as it is, whose checks name options by the same paths.

const path = check.value<string>(
  'a path',
  (given) => typeof given === 'string' && given !== '' && !given.includes('\0'),
)
const properties = check.value<Readonly<Record<string, unknown>>>(
  'an object of options',
  (given) => typeof given === 'object' && given !== null && !Array.isArray(given),
)

const disk = check.object({
  path,
  readOnly: check.withDefault(check.boolean, false),
  direct: check.withDefault(check.boolean, false),
  lock: check.withDefault(check.boolean, true),
  engine: check.withDefault(check.oneOf('auto', 'io_uring', 'threads', 'js'), 'auto'),
  id: check.optional(check.string),
  queues: check.withDefault(check.integer(1, 16), 1),
  rateLimit: check.optional(checkRateLimit),
})

const net = check.object({
  tap: check.optional(check.string),
  passt: check.optional(properties),
  mac: check.optional(check.string),
  queues: check.optional(check.integer(1, 16)),
  vhost: check.optional(
    check.value<boolean | 'auto'>("true, false or 'auto'", (given) =>
      [true, false, 'auto'].includes(given as boolean),
    ),
  ),
  link: check.withDefault(check.boolean, true),
  transmitLimit: check.optional(checkRateLimit),
  receiveLimit: check.optional(checkRateLimit),
})

const module = check.object({ image: path, commandLine: check.optional(check.string) })

const file = {
  $schema: check.optional(check.string),
  kernel: check.optional(path),
  firmware: check.optional(check.object({ image: path, variables: check.optional(path) })),
  initrd: check.optional(path),
  shares: check.optional(check.list('an array of folders to share', properties)),
  modules: check.withDefault(check.list('an array of modules', module), []),
  disks: check.withDefault(check.list('an array of disks', disk), []),
  nets: check.withDefault(check.list('an array of network cards', net), []),
}

const checkFile = check.object(file, { topLevel: true })

/**
 * The options of a machine from what a file describes it by: see the package's `machine.schema.json`.
 * @param value what `JSON.parse` gave
 * @param folder what relative paths are relative to
 * @throws VmmError `ERR_INVALID_OPTION` naming what is at fault by its path, `disks[1].readOnly`. What the rest of the
 *   options are, `VirtualMachine.create` looks at.
 */
export function machineFromJson(value: unknown, folder: string): VirtualMachineOptions {
  const entries = Object.entries(properties(value, 'the file'))
  const isOwn = ([name]: [string, unknown]) => Object.hasOwn(file, name)
  const own = Object.fromEntries(entries.filter(isOwn))
  const { kernel, firmware, initrd, modules, disks, nets, shares } = checkFile(own, 'the file')
  return {
    ...(Object.fromEntries(entries.filter((entry) => !isOwn(entry))) as object),
    ...(kernel === undefined ? {} : { kernel: resolve(folder, kernel) }),
    ...(firmware && {
      firmware: {
        image: resolve(folder, firmware.image),
        ...(firmware.variables && { variables: resolve(folder, firmware.variables) }),
      },
    }),
    ...(initrd === undefined ? {} : { initrd: resolve(folder, initrd) }),
    modules: modules.map(({ image, commandLine }) => {
      return { image: resolve(folder, image), ...defined({ commandLine }) }
    }),
    disks: disks.map((each, index) => blamed(`disks[${index}]`, () => diskOf(each, folder))),
    ...(shares && { shares: shares.map((share) => shareOf(share, folder)) }),
    nets: nets.map((each, index) => blamed(`nets[${index}]`, () => netOf(each))),
  }
}

/**
 * Reads a file that describes a machine.
 * @example
 * ```ts
 * const vm = await VirtualMachine.create(await readMachineFile('machine.json'))
 * ```
 * @throws VmmError `ERR_INVALID_OPTION`: the file cannot be read, is no JSON, or describes no machine
 */
export async function readMachineFile(filename: string): Promise<VirtualMachineOptions> {
  try {
    const text = await readFile(filename, 'utf8')
    return machineFromJson(JSON.parse(text), dirname(filename))
  } catch (error) {
    const { message } = error as Error
    const details = error instanceof VmmError ? optionOf(error) : { option: 'file' }
    const cause = { ...details, cause: error }
    throw new VmmError('ERR_INVALID_OPTION', `${filename}: ${message}`, cause)
  }
}

function optionOf({ option, value, expected }: VmmError) {
  return {
    ...(option === undefined ? {} : { option }),
    ...(value === undefined ? {} : { value }),
    ...(expected === undefined ? {} : { expected }),
  }
}

/** What else is to be said of it, `VirtualMachine.create` says. */
function shareOf(share: Readonly<Record<string, unknown>>, folder: string): ShareOptions {
  const { path } = share
  const absolute = typeof path === 'string' && path !== '' ? { path: resolve(folder, path) } : {}
  return { ...share, ...absolute } as ShareOptions
}

function blamed<T>(option: string, make: () => T): T {
  try {
    return make()
  } catch (error) {
    throw blameOption(option, error)
  }
}

function diskOf(given: ReturnType<typeof disk>, folder: string): DiskOptions {
  const { path, id, queues, rateLimit, ...options } = given
  const backend = new FileDisk(resolve(folder, path), { ...options, ...defined({ id }) })
  return { backend, queues, ...defined({ rateLimit }) }
}

function netOf({
  link,
  transmitLimit,
  receiveLimit,
  ...given
}: ReturnType<typeof net>): NetOptions {
  return { backend: netBackend(given), link, ...defined({ transmitLimit, receiveLimit }) }
}

function netBackend(
  given: Pick<ReturnType<typeof net>, 'tap' | 'passt' | 'mac' | 'queues' | 'vhost'>,
): NetBackend {
  const { tap, passt, mac, queues, vhost } = given
  if ((tap === undefined) === (passt === undefined)) {
    throw new VmmError('ERR_INVALID_OPTION', 'expected one of tap and passt', {
      value: given,
      expected: 'one of tap and passt',
    })
  }
  if (tap !== undefined) return new Tap(tap, defined({ mac, queues, vhost }))
  for (const [option, value] of Object.entries({ queues, vhost })) {
    if (value === undefined) continue
    throw new VmmError('ERR_INVALID_OPTION', `expected no ${option} with passt`, {
      ...{ option, value },
      expected: 'none with passt',
    })
  }
  return new Passt({ ...passt, ...defined({ mac }) })
}

/** Without what is undefined, which an optional property may not be. */
function defined<T extends object>(given: T): { [K in keyof T]?: NonNullable<T[K]> } {
  const entries = Object.entries(given).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as { [K in keyof T]?: NonNullable<T[K]> }
}
