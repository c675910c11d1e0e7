import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { VmmError } from '../../errors.js'
import { type JailOptions, jailCommand } from '../../jail/jail.js'
import { packageRoot } from '../../util/package-root.js'
import { CHANNEL_FD } from './protocol.js'

/** Files that a machine's process may open, besides what Node needs. */
export type MachineFiles = Required<Pick<JailOptions, 'read' | 'write'>>

const MACHINE_PROGRAM = join(packageRoot(), 'dist/bundle/isolated-machine/main.js')
/** Bytes kept of what it has said last on standard error. */
const LAST_WORDS = 2000
/** Descriptors, where the limit for processes allows them: each folder and file of a share that the guest has open is one. */
const DESCRIPTORS = 65_536
/** Milliseconds that it has to end by itself. */
const PATIENCE = 6000

/** A Node in a jail that runs one machine. */
export class MachineProcess {
  readonly #child: ChildProcess
  #lastWords = ''
  /** Resolves when it has ended, with how, in words. */
  readonly ended: Promise<string>

  /**
   * @param fds what it finds as descriptors 4 and on
   * @param program what Node runs
   */
  constructor(files: MachineFiles, fds: readonly number[], program = MACHINE_PROGRAM) {
    const count = fds.length + 1
    const keepFds = Array.from({ length: count }, (_, i) => CHANNEL_FD + i)
    const jail: JailOptions = {
      ...nodeFiles([program, ...files.read]),
      devices: ['/dev/kvm', '/dev/null', '/dev/urandom'],
      write: files.write,
      keepFds,
      // It ends with the connection too, unless the guest has it.
      dieWithParent: true,
      limits: { core: 0, nofile: Math.min(DESCRIPTORS, descriptorLimit()) },
    }
    const [command, args] = jailCommand(jail, process.execPath, [program])
    const { LD_LIBRARY_PATH } = process.env
    this.#child = spawn(command, args, {
      env: LD_LIBRARY_PATH === undefined ? {} : { LD_LIBRARY_PATH },
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', ...fds],
    })
    const stderr = this.#child.stderr as Socket
    stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-LAST_WORDS)
    })
    stderr.on('error', () => {})
    this.ended = new Promise((resolve) => {
      this.#child.once('error', (error) => resolve(`could not be started: ${error.message}`))
      this.#child.once('close', (status, signal) => {
        const how = signal === null ? `ended with status ${status}` : `was ended by ${signal}`
        const words = this.#lastWords.trim()
        resolve(words === '' ? how : `${how}: ${words}`)
      })
    })
    this.unref()
  }

  /** 0 if it could not be started. */
  get pid(): number {
    return this.#child.pid ?? 0
  }

  get connection(): Socket {
    return this.#child.stdio[CHANNEL_FD] as Socket
  }

  /** While this is on, the program's event loop goes on for it. */
  ref(): void {
    this.#child.ref()
    this.connection.ref()
  }

  unref(): void {
    this.#child.unref()
    this.connection.unref()
    ;(this.#child.stderr as Socket).unref()
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  /** Resolves when it has ended; it is killed if it has not in time. */
  async stop(): Promise<void> {
    this.ref()
    const timer = setTimeout(() => this.kill(), PATIENCE)
    await this.ended
    clearTimeout(timer)
  }
}

/** What Node, the library and its addon need to be loaded. Nothing but Node may be executed. */
function nodeFiles(read: readonly string[]): Pick<JailOptions, 'read' | 'exec'> {
  const root = packageRoot()
  const require = createRequire(import.meta.url)
  const libraries = ['/usr/lib', '/usr/local/lib', '/lib', '/lib64']
  const system = [
    ...[
      '/etc/ld.so.cache',
      '/etc/ssl/openssl.cnf',
      '/etc/localtime',
      '/proc/self',
      '/proc/cpuinfo',
    ],
    ...['/proc/meminfo', '/proc/stat', '/proc/sys/vm/overcommit_memory', '/sys/fs/cgroup'],
    ...['/sys/devices/system/cpu', '/sys/kernel/mm', '/sys/module'],
  ]
  const own = ['package.json', 'dist/bundle', 'build', 'prebuilds'].map((name) => join(root, name))
  const loader = dirname(require.resolve('node-gyp-build'))
  const node = join(dirname(dirname(process.execPath)), 'lib')
  return {
    read: [...own, loader, ...libraries, node, ...system, ...read],
    exec: [process.execPath, '/lib64/ld-linux-x86-64.so.2', '/lib/ld-musl-x86_64.so.1'],
  }
}

/** The hard limit of this process, which no limit of another may be above. */
function descriptorLimit(): number {
  try {
    const limits = readFileSync('/proc/self/limits', 'utf8')
    const [, hard] = /^Max open files\s+\S+\s+(\d+)/m.exec(limits) ?? []
    return hard === undefined ? DESCRIPTORS : Number(hard)
  } catch (cause) {
    throw new VmmError('ERR_ISOLATION', '/proc/self/limits cannot be read', { cause })
  }
}
