import type { FuseRequest } from './fuse-message.js'

type Answer = Uint8Array | undefined | Promise<Uint8Array>

/**
 * @param replyMax bytes that the reply's body may have
 * @returns the reply's body; `undefined` where there is no reply
 * @throws FuseError, or what a system call threw
 */
export type Operation = (request: FuseRequest, replyMax: number) => Answer

/** By FUSE's opcodes. */
export type Operations = Readonly<Record<number, Operation>>

/** The body of a reply that says no more than that it is done. */
export const NOTHING = new Uint8Array(0)
