import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A tmpfs, so that no disk of the host's is measured, nor a file system between. */
const MEMORY = '/dev/shm'

/** A folder that is removed at the end. */
export class ScratchFolder implements Disposable {
  readonly path: string

  /** @param where in memory, where that can be, or on the file system of temporary files */
  constructor(where: 'memory' | 'disk' = 'memory') {
    const parent = where === 'memory' && existsSync(MEMORY) ? MEMORY : tmpdir()
    this.path = mkdtempSync(join(parent, 'node-kvm-bench-'))
  }

  file(name: string, mebibytes: number): string {
    return filledFile(join(this.path, name), mebibytes)
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** Makes a file in which every block is there. */
export function filledFile(path: string, mebibytes: number): string {
  const fd = openSync(path, 'w')
  const block = Buffer.alloc(2 ** 20, 'x')
  for (let i = 0; i < mebibytes; i++) writeSync(fd, block)
  closeSync(fd)
  return path
}
