/** Gives whole numbers from 0 to one less than `below`, which is at most 2^32. */
export type RandomNumbers = (below: number) => number

/** A small generator whose sequence a seed gives again: mulberry32. */
export function randomNumbers(seed: number): RandomNumbers {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}
