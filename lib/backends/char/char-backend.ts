/**
 * Where a serial device's bytes go. The device calls {@link CharSink.put} from a guest access, so it returns at once
 * whatever the consumer does: an implementation buffers, and drops when its buffer is full, but never waits.
 */
export interface CharSink {
  /** Takes one byte, an integer from 0 to 255. Never throws. */
  put(byte: number): void
}

/**
 * Where a serial device's input comes from. The device pulls: it takes a byte only when it has room for one,
 * so a guest that does not read holds the sender back and nothing piles up in between.
 */
export interface CharSource {
  /** The next byte, from 0 to 255, or -1 if there is none now. */
  take(): number
  /** Names the one function to call when bytes have come. It may be called without need; it must not be called from `take`. */
  onReadable(callback: () => void): void
}
