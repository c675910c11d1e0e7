import { VmmError } from '../errors.js'

/** `ERR_ROOTFS`: `what` names the file, or the entry of an archive, that is at fault. */
export function badRootfs(what: string, rule: string, cause?: unknown): VmmError {
  const details = { option: 'rootfs', value: what }
  return new VmmError(
    'ERR_ROOTFS',
    `${JSON.stringify(what)}: ${rule}`,
    cause === undefined ? details : { ...details, cause },
  )
}
