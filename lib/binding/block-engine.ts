/** Asynchronous I/O between one file and guest memory; `native/block_engine.h` defines requests and completions. */
export interface NativeBlockEngine {
  readonly kind: 'io_uring' | 'threads'
  readonly inFlight: number
  /** Starts the requests in the first `words` elements of the shared array; returns how many completions now lie in the other. */
  submit(words: number): number
  /** Looks for completions without waiting. */
  reap(): number
  /** Waits up to `milliseconds` for a completion, then as `reap`. */
  wait(milliseconds: number): number
  /** Whether completions to come keep the event loop alive: not unless told. */
  ref(): void
  unref(): void
  /** Throws ERR_STATE while requests are in flight. */
  close(): void
}
