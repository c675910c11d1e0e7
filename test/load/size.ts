/**
 * How much of a load is put on: the whole of it by `npm run test:load`, where NODE_KVM_LOAD is 1; a fiftieth otherwise, for
 * every day.
 */
const SCALE = Number(process.env.NODE_KVM_LOAD ?? '0.02')

/** A share of `full`, and no fewer than `least`. */
export function times(full: number, least = 4): number {
  return Math.max(Math.min(full, least), Math.round(full * SCALE))
}
