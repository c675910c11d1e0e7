import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFailed } from 'vitest'
import { type StopReason, VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import {
  ext4Image,
  guestInitramfs,
  type KernelAsset,
  type KernelSeries,
  kernelAsset,
} from '../../lib/testing.js'

/** A stock kernel's kernel and initramfs. */
export async function stockKernel(
  series: KernelSeries = '6.12',
): Promise<{ asset: KernelAsset; kernel: string; initrd: string }> {
  const asset = await kernelAsset(series)
  return { asset, kernel: asset.vmlinuz, initrd: await guestInitramfs(asset) }
}

/** `nodekvm.exec=` for a shell script. */
export const exec = (script: string) => `nodekvm.exec=${Buffer.from(script).toString('base64')}`

/** A machine with a stock kernel and what it has said. */
export class StockGuest implements AsyncDisposable {
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

  static async start(
    commandLine: string,
    { series, ...options }: Partial<VirtualMachineOptions> & { series?: KernelSeries } = {},
  ): Promise<StockGuest> {
    const { kernel, initrd } = await stockKernel(series)
    const guest = new StockGuest(
      await VirtualMachine.create({
        kernel,
        initrd,
        commandLine: `console=ttyS0 ${commandLine}`,
        ...options,
      }),
    )
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
      void this.ended().then(() =>
        found() ? resolve() : reject(new Error(`never said ${what}: ${this.log.slice(-2000)}`)),
      )
    })
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

/** A folder of its own, with a copy of an empty ext4 image. */
export async function temporaryDisk(): Promise<{ path: string; folder: string } & Disposable> {
  const folder = mkdtempSync(join(tmpdir(), 'node-kvm-guest-'))
  const path = join(folder, 'disk.img')
  copyFileSync(await ext4Image(), path)
  return {
    path,
    folder,
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}
