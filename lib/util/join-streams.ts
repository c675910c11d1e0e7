import type { Duplex } from 'node:stream'

/** Passes on what either of two streams gives to the other, and its end, its failure and its being closed. */
export function joinStreams(one: Duplex, other: Duplex): void {
  pass(one, other)
  pass(other, one)
}

function pass(from: Duplex, to: Duplex): void {
  from.pipe(to)
  from.on('error', (error) => to.destroy(error))
  from.once('close', () => {
    if (!to.writableEnded) to.destroy()
  })
}
