import type { Figure } from './figure.js'

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
