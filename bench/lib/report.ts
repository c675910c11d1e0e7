import type { Figure } from './figure.js'
import type { Host } from './platform.js'
import { type Series, splitSeries } from './series.js'

const number = (value: number | null) =>
  value === null ? '' : value >= 100 ? value.toFixed(0) : value.toPrecision(3)

/** The figures as a Markdown table. */
export function markdown(figures: readonly Figure[]): string {
  const rows = figures.map((f) => [
    f.name,
    f.unit,
    `${number(f.ours)} (${number(f.spread.ours[0])}–${number(f.spread.ours[1])})`,
    f.peerName,
    f.spread.peer
      ? `${number(f.peer)} (${number(f.spread.peer[0])}–${number(f.spread.peer[1])})`
      : '',
    number(f.ratio),
    f.target,
    f.met ? 'yes' : 'no',
  ])
  const header = [
    'figure',
    'unit',
    'node-kvm, median (range)',
    'peer',
    'peer, median (range)',
    'ratio',
    'target',
    'met',
  ]
  return table(header, rows)
}

const table = (header: readonly string[], rows: readonly (readonly string[])[]) =>
  [header, header.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')

/** A column for each number of machines. */
function growthTable(series: readonly Series[]): string {
  const counts = [...new Set(series.flatMap(({ points }) => points.map(([count]) => count)))]
  counts.sort((a, b) => a - b)
  const rows = series.map(({ title, unit, points }) => {
    const values = new Map(points)
    return [title, unit, ...counts.map((count) => number(values.get(count) ?? null))]
  })
  const header = [
    'figure',
    'unit',
    ...counts.map((count) => `${count} VM${count === 1 ? '' : 's'}`),
  ]
  return table(header, rows)
}

/** The table for a page, with what it was measured on. */
export function page(figures: readonly Figure[], { cpu, cpus, node, kvm }: Host): string {
  const places = [...new Set(figures.map(({ on }) => on))].map((on) => `- ${on}`)
  const { series, others } = splitSeries(figures)
  const tables = [
    ...(others.length > 0 ? [markdown(others)] : []),
    ...(series.length > 0 ? [growthTable(series)] : []),
  ]
  return `${tables.join('\n\n')}

On ${cpu}, ${cpus} CPUs, Node ${node}; KVM: ${kvm}. Measured in:

${places.join('\n')}
`
}

const BEGIN = '<!-- figures -->'
const END = '<!-- end of figures -->'

/** A page with another table between its marks. */
export function withFigures(text: string, table: string): string {
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)]
  if (begin < 0 || end < begin) throw new Error(`the page has no ${BEGIN} … ${END}`)
  return `${text.slice(0, begin + BEGIN.length)}\n\n${table}\n${text.slice(end)}`
}
