import { readFileSync } from 'node:fs'

/** One line of the list: what a guest, a file or a host does, and what must come of it. */
export interface Line {
  readonly id: string
  readonly given: string
  readonly outcome: string
  /** Tests outside this folder that show it: files, and what stands in them as a title. */
  readonly tests?: readonly (readonly [file: string, title: string])[]
  /** Why there is no test of that name. */
  readonly open?: string
}

/** The list, in its order. */
export const list: readonly Line[] = JSON.parse(
  readFileSync(new URL('list.json', import.meta.url), 'utf8'),
)
