/** What happened, how often, and how long vCPUs were out of the guest for it. */
export interface ExitTally {
  /** Exits: a string instruction's accesses are one. */
  readonly count: number
  /** How many of them this thread answered; the others were answered by the vCPU's own. */
  readonly synchronous: number
  /** From the exit until the guest could go on, over all of them. */
  readonly nanoseconds: number
}

/** Accesses to one port or address, of whatever width. */
export interface PlaceTally extends ExitTally {
  readonly space: 'pio' | 'mmio'
  readonly direction: 'read' | 'write'
  readonly address: number
}

/** What vCPUs exited for. */
export interface ExitCounts {
  /** By KVM_EXIT_*, those that have occurred. */
  readonly reasons: ReadonlyMap<number, ExitTally>
  readonly places: readonly PlaceTally[]
  /** Accesses beyond the first 500 places or so of a vCPU. */
  readonly others: ExitTally
}

/** The layout of what the addon gives. */
const REASONS = 64
const NUMBERS_PER_TALLY = 3
const NUMBERS_PER_PLACE = 3 + NUMBERS_PER_TALLY
const OTHERS = REASONS * NUMBERS_PER_TALLY
const PLACES = OTHERS + NUMBERS_PER_TALLY

const NONE: ExitTally = { count: 0, synchronous: 0, nanoseconds: 0 }

/** The sum over vCPUs, each as `NativeExitChannel.exitCounts()` has it. */
export function sumExitCounts(vcpus: readonly Float64Array[]): ExitCounts {
  const reasons = new Map<number, ExitTally>()
  const places = new Map<string, PlaceTally>()
  let others = NONE
  for (const numbers of vcpus) {
    for (let reason = 0; reason < REASONS; reason++) {
      const tally = tallyAt(numbers, reason * NUMBERS_PER_TALLY)
      if (tally.count > 0) reasons.set(reason, add(reasons.get(reason), tally))
    }
    others = add(others, tallyAt(numbers, OTHERS))
    for (let at = PLACES; at < numbers.length; at += NUMBERS_PER_PLACE) {
      const [isMmio, isWrite, address] = numbers.subarray(at)
      const key = `${isMmio} ${isWrite} ${address}`
      places.set(key, {
        space: isMmio === 1 ? 'mmio' : 'pio',
        direction: isWrite === 1 ? 'write' : 'read',
        address: address!,
        ...add(places.get(key), tallyAt(numbers, at + 3)),
      })
    }
  }
  return { reasons, places: [...places.values()], others }
}

function tallyAt(numbers: Float64Array, at: number): ExitTally {
  const [count, synchronous, nanoseconds] = numbers.subarray(at, at + NUMBERS_PER_TALLY)
  return { count: count!, synchronous: synchronous!, nanoseconds: Math.round(nanoseconds!) }
}

function add(a: ExitTally = NONE, b: ExitTally): ExitTally {
  return {
    count: a.count + b.count,
    synchronous: a.synchronous + b.synchronous,
    nanoseconds: a.nanoseconds + b.nanoseconds,
  }
}
