// What instrumented code calls (scripts/lib/fuzz-instrument.mjs). A counter stands for one way that a branch can go.

const COUNTERS = 1 << 16
/** Comparisons that are remembered. */
const PAIRS = 64

/** How often each way was gone since {@link takeReached}. */
export const hits = new Uint32Array(COUNTERS)
const order = new Uint32Array(COUNTERS)
let used = 0

/** A way is gone for the first time. */
export function reached(id: number): void {
  order[used++] = id
}

/** Tells of each way that was gone, and how often, and forgets them. */
export function takeReached(visit: (id: number, times: number) => void): void {
  for (let i = 0; i < used; i++) {
    const id = order[i]!
    visit(id, hits[id]!)
    hits[id] = 0
  }
  used = 0
}

/** Where the counters of each file stand. */
export const files: { name: string; first: number; lines: readonly number[] }[] = []

export function file(name: string, first: number, lines: readonly number[]): void {
  if (first + lines.length > COUNTERS) throw new RangeError(`more than ${COUNTERS} counters`)
  files.push({ name, first, lines })
}

export type Compared = number | bigint | string
/** Two values that were not the same. */
export type Pair = readonly [Compared, Compared]

let noting = false
let noted: Pair[] = []

/** What `run` compares, as far as it differs: the last of it. */
export async function comparisons(run: () => void | Promise<void>): Promise<readonly Pair[]> {
  noted = []
  noting = true
  try {
    await run()
  } finally {
    noting = false
  }
  return noted
}

function note(a: unknown, b: unknown): void {
  if (!isCompared(a) || !isCompared(b) || a === b) return
  if (noted.length === PAIRS) noted.shift()
  noted.push([a, b])
}

function isCompared(value: unknown): value is Compared {
  if (typeof value === 'string') return value.length > 0 && value.length <= 64
  return typeof value === 'bigint' || (typeof value === 'number' && Number.isSafeInteger(value))
}

export function equal(a: unknown, b: unknown): boolean {
  if (noting) note(a, b)
  return a === b
}

export function less(a: never, b: never): boolean {
  if (noting) note(a, b)
  return a < b
}

export function greater(a: never, b: never): boolean {
  if (noting) note(a, b)
  return a > b
}

let chosen: unknown

/** The value of a `switch`, and of each of its cases. */
export function subject<T>(value: T): T {
  chosen = value
  return value
}

export function candidate<T>(value: T): T {
  if (noting) note(chosen, value)
  return value
}
