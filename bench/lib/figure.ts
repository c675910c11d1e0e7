import { platform } from './platform.js'

/** One measured figure, in the form that `npm run -s bench -- --json` prints. */
export interface Figure {
  readonly name: string
  readonly unit: string
  /** Median of ours. */
  readonly ours: number
  /** Median of the peer's; null for a figure that stands alone. */
  readonly peer: number | null
  readonly peerName: string
  /** ours / peer. */
  readonly ratio: number | null
  /** The target, in words. */
  readonly target: string
  readonly met: boolean
  /** Of a time or a cost; of a rate higher is better. */
  readonly lowerIsBetter: boolean
  /** What it ran on. */
  readonly on: string
  /** Smallest and largest of each side, and how many runs the medians are of. */
  readonly spread: {
    readonly ours: [number, number]
    readonly peer: [number, number] | null
    readonly runs: number
  }
}

/** A bound on a figure's ratio to its peer, or on the figure itself where there is no peer. */
export interface Target {
  readonly of: 'ratio' | 'ours'
  readonly bound: 'at least' | 'at most'
  readonly value: number
}

export function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export function percentile(samples: readonly number[], p: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor((p / 100) * sorted.length))]!
}

const range = (samples: readonly number[]): [number, number] => [
  Math.min(...samples),
  Math.max(...samples),
]

/** Makes a figure of the samples of both sides. */
export function figure(
  name: string,
  unit: string,
  target: Target | undefined,
  ours: readonly number[],
  peer?: { readonly name: string; readonly samples: readonly number[] },
): Figure {
  const oursMedian = median(ours)
  const peerMedian = peer ? median(peer.samples) : null
  const ratio = peerMedian === null ? null : oursMedian / peerMedian
  const measured = target?.of === 'ratio' ? ratio : oursMedian
  const met =
    target === undefined ||
    (measured !== null &&
      (target.bound === 'at least' ? measured >= target.value : measured <= target.value))
  return {
    name,
    unit,
    ours: oursMedian,
    peer: peerMedian,
    peerName: peer?.name ?? '',
    ratio,
    target: target
      ? `${target.of === 'ratio' ? 'ratio ' : ''}${target.bound} ${target.value}`
      : 'reported',
    met,
    lowerIsBetter: target ? target.bound === 'at most' : !/\/s$|bit/.test(unit),
    on: platform(),
    spread: { ours: range(ours), peer: peer ? range(peer.samples) : null, runs: ours.length },
  }
}

/** Runs the measurements in turn, `runs` times each, so that a slow minute of the machine falls on all of them. */
export async function interleave(
  runs: number,
  measurements: readonly (() => Promise<number>)[],
): Promise<number[][]> {
  return inTurn(runs, measurements)
}

/** The same for measurements that give several values each, by name. */
export async function interleaveNamed(
  runs: number,
  measurements: readonly (() => Promise<ReadonlyMap<string, number>>)[],
): Promise<((name: string) => number[])[]> {
  const samples = await inTurn(runs, measurements)
  return samples.map((maps) => (name) => samplesOf(maps, name))
}

/** The values of a name, one of each map. */
export function samplesOf(maps: readonly ReadonlyMap<string, number>[], name: string): number[] {
  const values = maps.flatMap((map) => map.get(name) ?? [])
  if (values.length === maps.length) return values
  throw new Error(`${name}: ${values.length} values of ${maps.length}`)
}

async function inTurn<T>(
  runs: number,
  measurements: readonly (() => Promise<T>)[],
): Promise<T[][]> {
  const samples: T[][] = measurements.map(() => [])
  for (let run = 0; run < runs; run++) {
    for (const [i, measure] of measurements.entries()) samples[i]!.push(await again(measure))
  }
  return samples
}

/** Once more if it fails: an emulated host has faults of its own. */
export async function again<T>(measure: () => Promise<T>): Promise<T> {
  try {
    return await measure()
  } catch (error) {
    process.stderr.write(`repeated, since it failed: ${(error as Error).message}\n`)
    return measure()
  }
}
