import { randomBytes } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { busyboxAsset } from '../assets/busybox.js'
import type { AssetOptions } from '../assets/cache.js'
import { type KernelAsset, kernelAsset } from '../assets/kernel.js'
import { buildInitramfs } from '../initramfs/initramfs.js'
import { resolveModules } from '../initramfs/module-order.js'
import {
  HOST_MODULES,
  hostInit,
  hostMain,
  OPTIONAL_HOST_MODULES,
  type Terminal,
} from './host-init.js'
import { kvmAnchor } from './kvm-anchor.js'
import { commandScript } from './shell.js'

export interface Job {
  command: readonly string[]
  cwd: string
  env: Readonly<Record<string, string | undefined>>
  shareReadWrite: readonly string[]
  terminal: Terminal
  /** Of the terminal, if there is one. */
  rows: number
  columns: number
  heartbeat: boolean
}

/** What the emulated host boots. */
export interface HostImage {
  kernel: KernelAsset
  initramfs: Uint8Array
  /** What the host writes after the last byte of an output stream. */
  endMark: string
}

/** A host that does one job. Its end mark is random, so that no output can contain it by accident. */
export async function buildHostImage(job: Job, options: AssetOptions): Promise<HostImage> {
  const kernel = await kernelAsset('6.12', 'amd64', options)
  const busybox = await busyboxAsset(options)
  const modules = await resolveModules(kernel.modules, HOST_MODULES, OPTIONAL_HOST_MODULES)
  const endMark = randomBytes(16).toString('hex')
  const directories = ['proc', 'lower', 'upper', 'new']
  const initramfs = buildInitramfs({
    init: hostInit(job.shareReadWrite),
    busybox,
    modules,
    files: [
      ...directories.map((path) => ({ type: 'directory' as const, path })),
      { type: 'file', path: 'job/main', data: hostMain({ ...job, endMark }) },
      { type: 'file', path: 'job/anchor', mode: 0o755, data: kvmAnchor() },
      { type: 'file', path: 'job/run', data: commandScript(job.command, job.cwd, job.env) },
    ],
  })
  return { kernel, initramfs, endMark }
}

/** An open file of these bytes that has no name, so that nothing can leave it behind. To be closed by the caller. */
export function anonymousFile(bytes: Uint8Array): number {
  const directory = mkdtempSync(join(tmpdir(), 'node-kvm-'))
  try {
    const path = join(directory, 'initramfs')
    const writing = openSync(path, 'wx', 0o600)
    const reading = openSync(path, 'r')
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(writing, bytes, done)
      return reading
    } catch (error) {
      closeSync(reading)
      throw error
    } finally {
      closeSync(writing)
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
