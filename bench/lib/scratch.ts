import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A folder that is removed at the end. */
export class ScratchFolder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'node-kvm-bench-'))

  /** A file in which every block is there. */
  file(name: string, mebibytes: number): string {
    const path = join(this.path, name)
    const fd = openSync(path, 'w')
    const block = Buffer.alloc(2 ** 20, 'x')
    for (let i = 0; i < mebibytes; i++) writeSync(fd, block)
    closeSync(fd)
    return path
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}
