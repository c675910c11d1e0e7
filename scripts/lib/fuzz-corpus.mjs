// The inputs that fuzzing has found worth keeping for each target: a line of hexadecimal digits for each.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from './build-addon.mjs'

/** @param {string} target */
export function corpusFile(target) {
  return join(packageRoot, 'test/fuzz/corpus', `${target}.hex`)
}

/** @param {string} target @returns {Uint8Array[]} */
export function readCorpus(target) {
  const file = corpusFile(target)
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []
  return lines.filter(Boolean).map((line) => Uint8Array.from(Buffer.from(line, 'hex')))
}
