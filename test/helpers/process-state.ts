import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** Whether this processor is emulated: everything takes some thirty times as long. */
export const slow = readFileSync('/proc/cpuinfo', 'utf8').includes('QEMU TCG')

/** Whether the addon is built with a sanitizer. */
export const sanitized = process.env.NODE_KVM_SANITIZER !== undefined

/**
 * Milliseconds after which a test that waits has failed: far more than it takes where it is alone, as it may be one of
 * many things that its machine does.
 */
export const PATIENCE = 120_000

/** A time limit, in milliseconds; a longer one where all takes longer: on an emulated processor or under a sanitizer. */
export function limit(milliseconds: number): number {
  return milliseconds * (slow || sanitized ? 10 : 1)
}

/** For programs that are not ours: with a sanitizer's library in them shells crash, and gdb waits for ever at its start. */
export const foreignEnvironment = { ...process.env, LD_PRELOAD: '' }

/** Open descriptors of this process. */
export function openFds(): number {
  return readdirSync('/proc/self/fd').length
}

/** Mappings of this process whose line has `text`. */
export function mappings(text: string): number {
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n')
  return lines.filter((line) => line.includes(text)).length
}

/** Guests' RAM mapped here: what is to be backed by huge pages (`hg`) and kept from children (`dc`). */
export function guestMemories(): number {
  const lines = readFileSync('/proc/self/smaps', 'utf8').split('\n')
  return lines.filter((line) => /^VmFlags:(?=.* hg)(?=.* dc)/.test(line)).length
}

export function threads(): number {
  return readdirSync('/proc/self/task').length
}

/** Whether a condition comes to hold, for what others bring about in their own time, such as a worker of the kernel's. */
export async function becomes(condition: () => boolean): Promise<boolean> {
  for (const end = performance.now() + PATIENCE; !condition() && performance.now() < end; ) {
    await sleep(0)
  }
  return condition()
}

/** Collects garbage and lets finalizers run until `done` holds, for at most five seconds or so. */
export async function collect(done: () => boolean, rounds = 50): Promise<boolean> {
  const { gc } = globalThis
  if (!gc) throw new Error('run with --expose-gc')
  for (let i = 0; i < rounds && !done(); i++) {
    gc()
    await sleep(100)
  }
  return done()
}

/** JavaScript for a Worker (`eval: true`): the addon as `binding`, ioctl numbers by name as `ioctls`. */
export const workerPrelude = `
  const { parentPort, workerData } = require('node:worker_threads')
  const binding = require('node-gyp-build')(${JSON.stringify(fileURLToPath(new URL('../..', import.meta.url)))})
  const ioctls = Object.fromEntries(binding.ioctls().map((entry) => [entry.name, entry.request]))
`

/** Whether a process is there and has not ended: one that nobody waits for stays in the list, and does nothing more. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
