import type { Figure } from './figure.js'
import type { Host } from './platform.js'
import { type Series, splitSeries } from './series.js'

const WIDTH = 900
const LABEL = 470
const ROW = 18
const TOP = 56
/** Of the axis of ratios, which is logarithmic. */
const LOW = 0.25
const HIGH = 4

const escaped = (text: string) =>
  text.replace(/[&<>]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c]!)

function text(x: number, y: number, content: string, more = ''): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${escaped(content)}</text>`
}

function line(x1: number, y1: number, x2: number, y2: number, color: string, more = ''): string {
  const [a, b, c, d] = [x1, y1, x2, y2].map((n) => n.toFixed(1))
  return `<line x1="${a}" y1="${b}" x2="${c}" y2="${d}" stroke="${color}" ${more}/>`
}

/** Of a figure, how many times better than its peer it is: what is to be low is turned over. */
function advantage(figure: Figure): number {
  return figure.lowerIsBetter ? 1 / figure.ratio! : figure.ratio!
}

function targetOf(figure: Figure): number | undefined {
  const value = /^ratio at (?:least|most) ([\d.]+)$/.exec(figure.target)?.[1]
  if (value === undefined) return undefined
  return figure.lowerIsBetter ? 1 / Number(value) : Number(value)
}

const along = (ratio: number) => {
  const bounded = Math.min(HIGH, Math.max(LOW, ratio))
  const share = Math.log(bounded / LOW) / Math.log(HIGH / LOW)
  return LABEL + share * (WIDTH - LABEL - 60)
}

/** Every figure that has a peer, as a bar from 1, with its target. */
function ratios(figures: readonly Figure[], top: number): { body: string; bottom: number } {
  const bottom = top + figures.length * ROW
  const axis = [0.25, 0.5, 1, 2, 4].flatMap((ratio) => [
    line(along(ratio), top - 8, along(ratio), bottom, ratio === 1 ? '#444' : '#ddd'),
    text(along(ratio), top - 12, `${ratio}×`, 'text-anchor="middle"'),
  ])
  const rows = figures.flatMap((figure, i) => {
    const y = top + i * ROW
    const value = advantage(figure)
    const [from, to] = [along(1), along(value)]
    const color = figure.met ? '#2a7f4f' : '#b3402e'
    const target = targetOf(figure)
    return [
      text(LABEL - 10, y + 12, `${figure.name} / ${figure.peerName}`, 'text-anchor="end"'),
      `<rect x="${Math.min(from, to).toFixed(1)}" y="${y + 3}" width="${Math.max(1, Math.abs(to - from)).toFixed(1)}" height="${ROW - 7}" fill="${color}"/>`,
      text(Math.max(from, to) + 4, y + 12, value.toFixed(2)),
      ...(target === undefined
        ? []
        : [line(along(target), y + 1, along(target), y + ROW - 2, '#000', 'stroke-width="2"')]),
    ]
  })
  return { body: [...axis, ...rows].join('\n'), bottom }
}

/** A curve for each series. */
function curves(series: readonly Series[], top: number): { body: string; bottom: number } {
  const [columns, width, height] = [2, WIDTH / 2, 150]
  const body = series.flatMap(({ title, unit, points }, i) => {
    const left = (i % columns) * width + 60
    const base = top + Math.floor(i / columns) * height + height - 30
    const max = Math.max(...points.map(([, value]) => value), Number.MIN_VALUE)
    const most = Math.log2(Math.max(2, ...points.map(([count]) => count)))
    const place = ([count, value]: readonly [number, number]) => [
      left + (Math.log2(count) / most) * (width - 110),
      base - (value / max) * (height - 70),
    ]
    const path = points
      .map((point) =>
        place(point)
          .map((n) => n.toFixed(1))
          .join(','),
      )
      .join(' ')
    return [
      text(left, base - height + 56, `${title} (${unit})`, 'font-weight="bold"'),
      line(left, base, left + width - 110, base, '#444'),
      text(left - 6, base - height + 74, max.toPrecision(3), 'text-anchor="end"'),
      text(left - 6, base, '0', 'text-anchor="end"'),
      `<polyline points="${path}" fill="none" stroke="#2a5d9f" stroke-width="2"/>`,
      ...points.map((point) =>
        text(place(point)[0]!, base + 14, `${point[0]}`, 'text-anchor="middle"'),
      ),
    ]
  })
  return { body: body.join('\n'), bottom: top + Math.ceil(series.length / columns) * height }
}

/** The figures as a drawing: ratios to the peers with their targets, and how costs grow with the number of machines. */
export function svg(figures: readonly Figure[], on: Host): string {
  const { series, others } = splitSeries(figures)
  const compared = others.filter(({ ratio }) => ratio !== null)
  const first = ratios(compared, TOP)
  const second = curves(series, first.bottom + 20)
  const height = second.bottom + 20
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11">
<title>Benchmarks of node-kvm</title>
<rect width="100%" height="100%" fill="#fff"/>
${text(10, 18, 'node-kvm against its peers: to the right of 1× is better; the black mark is the target', 'font-size="14"')}
${text(10, 34, `${on.cpu}, ${on.cpus} CPUs, Node ${on.node}; KVM: ${on.kvm}`)}
${first.body}
${second.body}
</svg>
`
}
