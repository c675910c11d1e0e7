// The inputs that fuzzing has found worth keeping for each target: a line of hexadecimal digits for each, `00*512` standing
// for so many bytes of that value.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from './build-addon.mjs'

/** Bytes of one value that are written as one. */
const RUN = 8

/** @param {string} target */
function corpusFile(target) {
  return join(packageRoot, 'test/fuzz/corpus', `${target}.hex`)
}

/** @param {string} target @returns {Uint8Array[]} */
export function readCorpus(target) {
  const file = corpusFile(target)
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []
  return lines.filter(Boolean).map(parseInput)
}

/** @param {string} target @param {readonly Uint8Array[]} inputs */
export function writeCorpus(target, inputs) {
  const lines = [...new Set(inputs.map(formatInput))].sort(
    (a, b) => a.length - b.length || (a < b ? -1 : 1),
  )
  writeFileSync(corpusFile(target), lines.map((line) => `${line}\n`).join(''))
}

/** @param {Uint8Array} bytes */
export function formatInput(bytes) {
  const digits = Buffer.from(bytes).toString('hex')
  const runs = new RegExp(`((..)\\2{${RUN - 1},})`, 'g')
  let text = ''
  let at = 0
  for (let match = next(0); match; match = next(at)) {
    text += `${digits.slice(at, match.index)} ${match[2]}*${match[1].length / 2} `
    at = match.index + match[1].length
  }
  return (text + digits.slice(at)).trim()

  /** A run that begins at a whole byte. */
  function next(from) {
    runs.lastIndex = from
    for (let match = runs.exec(digits); match; match = runs.exec(digits)) {
      if (match.index % 2 === 0) return match
      runs.lastIndex = match.index + 1
    }
    return undefined
  }
}

/** @param {string} line @returns {Uint8Array} */
export function parseInput(line) {
  const parts = line.split(' ').map((part) => {
    const [digits, times = '1'] = part.split('*')
    return Buffer.from(digits.repeat(Number(times)), 'hex')
  })
  return Uint8Array.from(Buffer.concat(parts))
}
