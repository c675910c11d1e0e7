import type { Figure } from './figure.js'
import type { Host } from './platform.js'

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
  return [header, header.map(() => '---'), ...rows]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n')
}

/** The table for a page, with what it was measured on. */
export function page(figures: readonly Figure[], { cpu, cpus, node, kvm }: Host): string {
  const places = [...new Set(figures.map(({ on }) => on))].map((on) => `- ${on}`)
  return `${markdown(figures)}

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
