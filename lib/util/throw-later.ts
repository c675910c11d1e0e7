/** For what a program's listener has thrown: makes it an uncaught exception of the program, not a fault of the caller. */
export function throwLater(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}
