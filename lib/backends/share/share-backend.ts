/** Where the requests of a virtio-fs device go: a server of FUSE messages (linux/fuse.h). */
export interface ShareBackend {
  open(): Promise<void>
  /** Gives everything back. Requests that are under way are waited for. */
  close(): Promise<void>
  /**
   * Answers one message. Never throws, whatever it holds.
   * @param request belongs to the callee
   * @param replyMax bytes that the answer may have: at least 16
   * @returns the answer; `undefined` for messages that have none
   */
  handle(request: Buffer, replyMax: number): Buffer | undefined | Promise<Buffer>
  /** The guest's driver starts anew: forgets all that it has looked up and opened. */
  reset(): void
}
