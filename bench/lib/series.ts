import type { Figure } from './figure.js'

const NAME = /^(.*), (\d+) VMs?$/

/** What was measured with several numbers of machines. */
export interface Series {
  readonly title: string
  readonly unit: string
  /** The number of machines, and the figure's median. */
  readonly points: readonly (readonly [count: number, value: number])[]
}

/** Figures named `WHAT, N VMs` as a series for each WHAT, and the others. */
export function splitSeries(figures: readonly Figure[]): {
  series: readonly Series[]
  others: readonly Figure[]
} {
  const byTitle = new Map<string, { unit: string; points: [number, number][] }>()
  const others: Figure[] = []
  for (const figure of figures) {
    const [, title, count] = NAME.exec(figure.name) ?? []
    if (title === undefined) {
      others.push(figure)
      continue
    }
    const { unit, ours } = figure
    const made = byTitle.get(title) ?? { unit, points: [] }
    made.points.push([Number(count), ours])
    byTitle.set(title, made)
  }
  const series = [...byTitle].map(([title, rest]) => ({ title, ...rest }))
  return { series, others }
}
