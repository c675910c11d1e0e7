import type { Socket } from 'node:net'
import type { CopySummary, StopReason } from '../../index.js'

// One request a connection: a line of JSON either way. After `console` the connection is the console's bytes, after `exec`
// it is frames, and after `copy` more lines: of progress, and the last of its end.

/** What a client may ask. */
export type Request =
  | { readonly method: 'status' }
  | { readonly method: 'inspect' }
  | { readonly method: 'console' }
  | { readonly method: 'stop'; readonly force: boolean; readonly timeout: number }
  | ExecRequest
  | CopyRequest

/** The machine's process reads and writes the files: it is of the same user. */
export interface CopyRequest {
  readonly method: 'copy'
  readonly direction: 'in' | 'out'
  readonly from: string
  readonly to: string
}

/** A program to run in the guest. What of it is no good, the machine refuses. */
export interface ExecRequest {
  readonly method: 'exec'
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly tty?: { readonly rows: number; readonly columns: number }
}

/** What is told of a running machine. */
export interface MachineStatus {
  readonly name: string
  readonly pid: number
  readonly state: string
  /** When it was started: ISO 8601. */
  readonly started: string
  readonly kernel: string
  readonly cpus: number
  /** Bytes. */
  readonly memory: number
}

export type StopAnswer = { readonly reason: StopReason['kind'] }

/** A line after the answer to `copy`. */
export type CopyReport =
  | { readonly progress: CopySummary }
  | { readonly result: CopySummary }
  | { readonly error: string }

export type Answer = { readonly result: unknown } | { readonly error: string }

/** Bytes: a request may have a program's arguments and variables, an answer may have statistics. */
export const REQUEST_MAX = 2 ** 18
export const ANSWER_MAX = 4 * 2 ** 20

/**
 * Resolves with the first line that comes, and leaves what follows it to be read. Nothing else may read meanwhile.
 * @throws Error if the line is too long, the connection ends before it, or it takes longer than `timeout` milliseconds
 */
export function readLine(socket: Socket, limit: number, timeout: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    const done = (settle: () => void) => {
      clearTimeout(timer)
      socket.off('readable', onReadable).off('end', onEnd).off('error', onError)
      settle()
    }
    const fail = (why: string) => done(() => reject(new Error(why)))
    const onError = ({ message }: Error) => fail(message)
    const onEnd = () => fail('the connection ended')
    const onReadable = () => {
      for (let chunk: Buffer | null = socket.read(); chunk !== null; chunk = socket.read()) {
        const at = chunk.indexOf(0x0a)
        const part = at < 0 ? chunk : chunk.subarray(0, at)
        length += part.length
        if (length > limit) return fail('the message is too long')
        chunks.push(part)
        if (at < 0) continue
        const rest = chunk.subarray(at + 1)
        done(() => resolve(Buffer.concat(chunks).toString()))
        if (rest.length > 0) socket.unshift(rest)
        return
      }
    }
    const timer = setTimeout(() => fail(`no answer within ${timeout} ms`), timeout)
    socket.on('readable', onReadable).on('end', onEnd).on('error', onError)
  })
}

/** Reads a request, whatever was sent. */
export function parseRequest(line: string): Request | undefined {
  let given: unknown
  try {
    given = JSON.parse(line)
  } catch {
    return undefined
  }
  if (typeof given !== 'object' || given === null) return undefined
  const { method, force, timeout, direction, from, to } = given as Readonly<Record<string, unknown>>
  // The machine checks the rest, as for any program.
  if (method === 'exec') return given as ExecRequest
  if (method === 'status' || method === 'inspect' || method === 'console') return { method }
  if (method === 'copy') {
    if (direction !== 'in' && direction !== 'out') return undefined
    const arePaths = typeof from === 'string' && typeof to === 'string'
    return arePaths ? { method, direction, from, to } : undefined
  }
  if (method !== 'stop' || typeof force !== 'boolean') return undefined
  const isTime = typeof timeout === 'number' && timeout > 0 && timeout < 2 ** 31
  return isTime ? { method, force, timeout } : undefined
}
