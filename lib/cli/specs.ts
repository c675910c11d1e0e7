import { InvalidArgumentError } from 'commander'

/** `PATH[,readonly]` as given to `--disk`. */
export interface DiskSpec {
  path: string
  readOnly: boolean
}

/** `tap=NAME[,mac=ADDRESS]` as given to `--net`. */
export interface NetSpec {
  tap: string
  mac: string | undefined
}

/**
 * Reads `PATH[,readonly]`. A comma that belongs to the path is written twice, as QEMU has it.
 * @throws InvalidArgumentError naming what is not understood
 */
export function parseDiskSpec(text: string): DiskSpec {
  const [path, ...flags] = splitSpec(text)
  if (!path) throw new InvalidArgumentError('expected PATH[,readonly]')
  const unknown = flags.find((flag) => flag !== 'readonly')
  if (unknown !== undefined)
    throw new InvalidArgumentError(`'${unknown}' is not known here; expected PATH[,readonly]`)
  return { path, readOnly: flags.length > 0 }
}

/**
 * Reads `tap=NAME[,mac=ADDRESS]`.
 * @throws InvalidArgumentError naming what is not understood
 */
export function parseNetSpec(text: string): NetSpec {
  const spec: NetSpec = { tap: '', mac: undefined }
  for (const part of splitSpec(text)) {
    const [key, value] = keyValue(part)
    if (key === 'tap' && value) spec.tap = value
    else if (key === 'mac' && value) spec.mac = value
    else
      throw new InvalidArgumentError(`'${part}' is not known here; expected tap=NAME[,mac=ADDRESS]`)
  }
  if (!spec.tap) throw new InvalidArgumentError('expected tap=NAME[,mac=ADDRESS]')
  return spec
}

function splitSpec(text: string): string[] {
  return text.split(/(?<!,),(?!,)/).map((part) => part.replaceAll(',,', ','))
}

function keyValue(part: string): [string, string | undefined] {
  const at = part.indexOf('=')
  return at < 0 ? [part, undefined] : [part.slice(0, at), part.slice(at + 1)]
}
