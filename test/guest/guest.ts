import { inspect } from 'node:util'
import { onTestFailed } from 'vitest'
import { type StopReason, VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'

/** A machine and what it has said on its console. */
export class Guest implements AsyncDisposable {
  log = ''
  readonly #outputEnd: Promise<void>
  readonly #waiting = new Set<() => void>()

  private constructor(readonly vm: VirtualMachine) {
    this.#outputEnd = new Promise((resolve) => {
      vm.console.output.once('end', resolve).once('close', resolve)
    })
    vm.console.output.setEncoding('latin1').on('data', (text: string) => {
      this.log += text
      for (const look of this.#waiting) look()
    })
  }

  static async start(options: VirtualMachineOptions): Promise<Guest> {
    const guest = new Guest(await VirtualMachine.create(options))
    onTestFailed(() => {
      process.stdout.write(`The guest's last words:\n${guest.log.slice(-8000)}\n`)
    })
    await guest.vm.start()
    return guest
  }

  /** Resolves when the guest has said it; rejects, with the end of the log, if it ends before. */
  async said(what: string | RegExp): Promise<void> {
    const found = () => (typeof what === 'string' ? this.log.includes(what) : what.test(this.log))
    await new Promise<void>((resolve, reject) => {
      const look = () => {
        if (!found()) return
        this.#waiting.delete(look)
        resolve()
      }
      this.#waiting.add(look)
      look()
      void this.ended().then((reason) => {
        const end = `never said ${what}, but ended: ${inspect(reason)}`
        if (found()) resolve()
        else reject(new Error(`${end}: ${this.log.slice(-2000)}`))
      })
    })
  }

  /** What a shell in the guest prints, which comes over vsock; the machine has the option `agent`. */
  async shell(script: string): Promise<string> {
    return (await this.vm.exec(['/bin/sh', '-c', script])).stdout
  }

  /** How it has ended, after all that it said has come. */
  async ended(): Promise<StopReason> {
    const reason = await this.vm.stopped
    await this.#outputEnd
    return reason
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.vm.close()
  }
}
