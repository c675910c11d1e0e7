/** An eventfd, for whoever raises it or has the host's kernel raise it. */
export interface SignalEvent {
  readonly fd: number
  signal(): void
}
