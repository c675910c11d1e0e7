import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { ScratchFolder } from './scratch.js'

const run = (command: string, ...args: string[]) =>
  execFileSync(command, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  })

/** A folder on an ext4 of its own, in a file in memory: no disk of the host's, but a file system with a page cache. */
export class LoopFolder implements Disposable {
  readonly folder: ScratchFolder
  readonly path: string

  /** @throws Error without the privileges, loop devices or ext4 */
  constructor(mebibytes: number) {
    this.folder = new ScratchFolder()
    this.path = join(this.folder.path, 'ext4')
    try {
      const image = this.folder.file('ext4.img', mebibytes)
      run('mkfs.ext4', '-q', '-F', image)
      mkdirSync(this.path)
      run('mount', '-o', 'loop', image, this.path)
    } catch (error) {
      this.folder[Symbol.dispose]()
      throw error
    }
  }

  [Symbol.dispose](): void {
    run('umount', this.path)
    this.folder[Symbol.dispose]()
  }
}
