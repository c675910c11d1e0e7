import type { Figure } from './figure.js'
import { markdown } from './report.js'

/** `--rounds N`, or what the benchmark takes unless told. */
export function rounds(otherwise: number): number {
  const at = process.argv.indexOf('--rounds')
  const given = at < 0 ? (quick ? 1 : otherwise) : Number(process.argv[at + 1])
  if (Number.isInteger(given) && given >= 1) return given
  throw new Error(`--rounds: expected a whole number of at least 1, got ${process.argv[at + 1]}`)
}

/** With `--quick`, the least that shows whether a benchmark works: its figures are worth nothing. */
export const quick = process.argv.includes('--quick')

/** Prints figures as every benchmark does: JSON with `--json`, else a Markdown table. */
export function print(figures: readonly Figure[]): void {
  process.stdout.write(
    `${process.argv.includes('--json') ? JSON.stringify(figures) : markdown(figures)}\n`,
  )
}

/** With `--verbose`, shows what guests say as it comes. */
export function overheard(data: Buffer): void {
  if (process.argv.includes('--verbose')) process.stderr.write(data)
}
