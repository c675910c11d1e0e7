import type { Bench } from '../bench.js'

/** One line of the list, or a part of it, as a driver plays it. After each the disk verifies again. */
export interface Case {
  /** The line's id in `list.ts`. */
  readonly id: string
  readonly title: string
  play(bench: Bench): Promise<void>
  /** Where it can be played: everywhere unless told. */
  readonly form?: Bench['form']
}
