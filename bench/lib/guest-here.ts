import { VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import { overheard } from './cli.js'
import type { GuestSpec } from './peers.js'

/** Seconds for anything that is waited for, unless told. */
const LIMIT = 120

/** A machine of this process and what its guest has said. */
export class GuestHere implements AsyncDisposable {
  readonly vm: VirtualMachine
  output = ''
  readonly #ended: Promise<never>
  readonly #looks = new Set<() => void>()

  private constructor(vm: VirtualMachine) {
    this.vm = vm
    vm.console.output.on('data', (data: Buffer) => {
      this.output += data.toString('latin1')
      overheard(data)
      for (const look of this.#looks) look()
    })
    this.#ended = vm.stopped.then((reason) => {
      throw new Error(`the guest ended: ${reason.kind}\n${this.output.slice(-2000)}`)
    })
    this.#ended.catch(() => {})
  }

  /** Creates a machine with the kernel and memory of the guest that every monitor boots. */
  static async create(
    { kernel, initrd, commandLine, memoryMiB }: GuestSpec,
    options: Partial<VirtualMachineOptions> = {},
  ): Promise<GuestHere> {
    const memory = `${memoryMiB}M`
    return new GuestHere(
      await VirtualMachine.create({ kernel, initrd, commandLine, memory, ...options }),
    )
  }

  /** Resolves when the guest has said it, rejects if it ends before or the time, in seconds, is up. */
  async said(text: string, limit = LIMIT): Promise<void> {
    await this.saying((output) => output.includes(text), `'${text}'`, limit)
  }

  /** The same of output that `is` is true of. */
  async saying(is: (output: string) => boolean, what: string, limit = LIMIT): Promise<void> {
    let look = () => {}
    const found = new Promise<void>((resolve) => {
      look = () => {
        if (is(this.output)) resolve()
      }
    })
    this.#looks.add(look)
    look()
    await this.within(found, what, limit).finally(() => this.#looks.delete(look))
  }

  /** What a promise gives, unless the guest ends before or the time, in seconds, is up. */
  async within<T>(promise: Promise<T>, what: string, limit = LIMIT): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new Error(`${what} took over ${limit} s:\n${this.output.slice(-2000)}`))
      }, limit * 1000)
    })
    return await Promise.race([promise, this.#ended, late]).finally(() => clearTimeout(timer))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.vm.close()
  }
}
