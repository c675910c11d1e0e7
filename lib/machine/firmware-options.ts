import * as check from './option-checks.js'

/** A firmware, with more to say of it than what is in it. */
export interface FirmwareOptions {
  /**
   * The code: a path or the bytes, a multiple of 4096 from 64 KiB to 8 MiB. SeaBIOS's `bios-256k.bin`, OVMF's
   * `OVMF_CODE_4M.fd`.
   */
  image: string | Uint8Array
  /**
   * Where UEFI firmware keeps its variables, in flash memory below the code: a path, of a copy of `OVMF_VARS_4M.fd` that
   * belongs to this machine and is written to, or bytes, which are changed.
   */
  variables?: string | Uint8Array
}

export const ROM_MIN = 0x1_0000
export const ROM_SIZE_MAX = 0x80_0000

const image = check.value<string | Uint8Array>(
  'a path of a firmware, or its bytes',
  (given) => (typeof given === 'string' && given !== '') || given instanceof Uint8Array,
)

const firmware = check.object({ image, variables: check.optional(image) })

/** {@link FirmwareOptions}, checked. */
export type FirmwareConfig = Readonly<ReturnType<typeof firmware>>

export const checkFirmware: check.Check<FirmwareConfig> = (given, name) => {
  const isImage = typeof given === 'string' || given instanceof Uint8Array
  if (isImage) image(given, name)
  return firmware(isImage ? { image: given } : given, name)
}
