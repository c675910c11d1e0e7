/** One thing that was measured. */
export interface BenchFigure {
  readonly name: string
  readonly unit: 'ms' | 'per s' | 'MB/s'
  readonly median: number
  /** Of the runs. */
  readonly smallest: number
  readonly largest: number
  readonly runs: number
}

/** What could not be measured. */
export interface BenchMissing {
  readonly name: string
  readonly why: string
}

/** @param samples one at least */
export function figureOf(
  name: string,
  unit: BenchFigure['unit'],
  samples: readonly number[],
): BenchFigure {
  const sorted = [...samples].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const median =
    sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  const [smallest, largest] = [sorted[0]!, sorted.at(-1)!]
  return { name, unit, median, smallest, largest, runs: sorted.length }
}

/** Three digits, as more are noise. */
export function formatNumber(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toPrecision(3)
}
