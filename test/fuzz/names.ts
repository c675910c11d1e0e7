// What there is to fuzz, for scripts/fuzz.mjs.
import { targets } from './targets/all.js'

export const about: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(targets).map(([name, target]) => [name, target.about]),
)
