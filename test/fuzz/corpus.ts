import { existsSync, readFileSync } from 'node:fs'

/** The inputs that fuzzing has found worth keeping for a target: a line of hexadecimal digits for each. */
export function readCorpus(target: string): Uint8Array[] {
  const file = new URL(`corpus/${target}.hex`, import.meta.url)
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'utf8').split('\n')
  return lines
    .filter((line) => line !== '')
    .map((line) => Uint8Array.from(Buffer.from(line, 'hex')))
}
