/** What owns a file descriptor in the addon. */
export abstract class Descriptor<N extends { readonly fd: number; close(): void }>
  implements Disposable
{
  /** The addon's object, for the addon's other classes. */
  readonly native: N

  constructor(native: N) {
    this.native = native
  }

  /** The file descriptor's number, -1 once closed. */
  get fd(): number {
    return this.native.fd
  }

  /** Whether `close()` was called. */
  get closed(): boolean {
    return this.native.fd < 0
  }

  /** Gives the descriptor back. May be called again. */
  close(): void {
    this.native.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
