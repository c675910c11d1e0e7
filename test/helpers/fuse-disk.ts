import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const SERVER = fileURLToPath(new URL('./fuse-disk-server.mjs', import.meta.url))

/** Files of 1 MiB whose reads and writes are interrupted, or short, as those of a network's file system may be. */
export class FuseDisk implements AsyncDisposable {
  readonly #folder: string
  readonly #server: ChildProcess

  private constructor(folder: string, server: ChildProcess) {
    this.#folder = folder
    this.#server = server
  }

  /** Mounts one, or says why there can be none: no privileges, no FUSE. */
  static async mount(): Promise<FuseDisk | string> {
    try {
      accessSync('/dev/fuse')
    } catch (error) {
      return (error as Error).message
    }
    const folder = mkdtempSync(join(tmpdir(), 'node-kvm-fuse-'))
    const server = spawn(process.execPath, [SERVER, folder], { stdio: ['ignore', 'pipe', 'pipe'] })
    let trouble = ''
    server.stderr!.on('data', (data: Buffer) => {
      trouble += data
    })
    const mounted = await Promise.race([
      once(server.stdout!, 'data').then(() => true),
      once(server, 'exit').then(() => false),
    ])
    const disk = new FuseDisk(folder, server)
    if (mounted) return disk
    rmSync(folder, { recursive: true })
    return `no FUSE file system can be mounted: ${trouble.split('\n')[0]}`
  }

  /** Each operation of it fails with EINTR the first time. */
  get interrupted(): string {
    return join(this.#folder, 'eintr')
  }

  /** No operation of it moves more than 1000 bytes. */
  get short(): string {
    return join(this.#folder, 'short')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    execFileSync('umount', ['-l', this.#folder])
    this.#server.kill('SIGKILL')
    await once(this.#server, 'exit')
    rmSync(this.#folder, { recursive: true })
  }
}
