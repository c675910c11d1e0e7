import { Session } from 'node:inspector'

interface Coverage {
  readonly result: readonly {
    readonly url: string
    readonly functions: readonly {
      readonly ranges: readonly {
        readonly startOffset: number
        readonly endOffset: number
        readonly count: number
      }[]
    }[]
  }[]
}

/** Which blocks of this program have been reached, by the counters that V8 itself keeps. */
export class BlockCoverage {
  readonly #session = new Session()
  readonly #reached = new Set<string>()

  constructor() {
    this.#session.connect()
    this.#session.post('Profiler.enable')
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  }

  get size(): number {
    return this.#reached.size
  }

  /** Whether anything was reached since the last call that nothing had reached before. */
  grew(): boolean {
    const before = this.#reached.size
    this.#session.post('Profiler.takePreciseCoverage', (_error, taken) => {
      for (const { url, functions } of (taken as Coverage | undefined)?.result ?? []) {
        if (!url.includes('build-fuzz')) continue
        for (const { ranges } of functions) {
          for (const { startOffset, endOffset, count } of ranges) {
            if (count > 0) this.#reached.add(`${startOffset}-${endOffset}-${Math.log2(count) | 0}`)
          }
        }
      }
    })
    return this.#reached.size > before
  }
}
