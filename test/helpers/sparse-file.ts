import { closeSync, ftruncateSync, openSync } from 'node:fs'

/** Makes a file of `bytes` zeroes that takes no room, in the place of what there was, and gives its path. */
export function sparseFile(path: string, bytes: number): string {
  const fd = openSync(path, 'w')
  ftruncateSync(fd, bytes)
  closeSync(fd)
  return path
}
