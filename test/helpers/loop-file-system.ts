import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sparseFile } from './sparse-file.js'

/** An ext4 of 16 MiB in a file, whose faults are real ones. */
export interface LoopFileSystem {
  /** Where it is mounted. */
  readonly path: string
  /** What is written to it from here on hangs, until `thaw`. */
  freeze(): void
  thaw(): void
  /** Cuts off the second half of what it is kept in: reading there fails. */
  breakSecondHalf(): void
  remove(): void
}

const run = (command: string, ...args: string[]) =>
  execFileSync(command, args, {
    stdio: 'pipe',
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  })

/** Makes one, or says why there can be none: no privileges, no loop devices, no mkfs.ext4. */
export function loopFileSystem(): LoopFileSystem | string {
  const folder = mkdtempSync(join(tmpdir(), 'node-kvm-loop-'))
  const image = join(folder, 'ext4.img')
  const path = join(folder, 'mnt')
  try {
    sparseFile(image, 16 << 20)
    run('mkfs.ext4', '-q', '-O', '^has_journal', image)
    run('mkdir', path)
    run('mount', '-o', 'loop', image, path)
  } catch (error) {
    rmSync(folder, { recursive: true })
    return (error as Error).message.split('\n')[0]!
  }
  let frozen = false
  const thaw = () => {
    if (frozen) run('fsfreeze', '-u', path)
    frozen = false
  }
  return {
    path,
    freeze() {
      run('fsfreeze', '-f', path)
      frozen = true
    },
    thaw,
    breakSecondHalf() {
      run('sync', '-f', path)
      truncateSync(image, 8 << 20)
    },
    remove() {
      thaw()
      run('umount', '-l', path)
      rmSync(folder, { recursive: true })
    },
  }
}
