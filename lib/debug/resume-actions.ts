import type { ResumeAction } from './debugger.js'

/** What is known of the threads: how many there are, and which are meant where none is named. */
export interface Threads {
  readonly count: number
  /** The one that `Hc` chose, or the current one: an index. */
  readonly chosen: number
}

/** A thread id of the client's: an index, every thread, or undefined for one that is none. */
export function parseThreadId(
  text: string,
  { count, chosen }: Threads,
): number | 'all' | undefined {
  if (text === '-1') return 'all'
  if (!/^[\da-f]{1,8}$/i.test(text)) return undefined
  const id = Number.parseInt(text, 16)
  if (id === 0) return chosen
  return id <= count ? id - 1 : undefined
}

/**
 * The actions of a `vCont` packet: of those that name a thread, the first counts; one that names none is for the others.
 * Signals are left out of account: a machine has none.
 * @param text what comes after `vCont`: `;s:2;c`
 * @returns undefined for what is not understood, or lets no thread go on
 */
export function parseActions(
  text: string,
  threads: Threads,
): ReadonlyMap<number, ResumeAction> | undefined {
  const actions = new Map<number, ResumeAction>()
  const add = (vcpu: number, action: ResumeAction) => {
    if (!actions.has(vcpu)) actions.set(vcpu, action)
  }
  const everyone = Array.from({ length: threads.count }, (_, index) => index)
  for (const part of text.split(';').slice(1)) {
    const [, letter, thread] = /^([cs]|[CS][\da-fA-F]{2})(?::(.+))?$/.exec(part) ?? []
    const id = thread === undefined ? 'all' : parseThreadId(thread, threads)
    if (letter === undefined || id === undefined) return undefined
    const action = letter[0]!.toLowerCase() === 's' ? 'step' : 'continue'
    for (const vcpu of id === 'all' ? everyone : [id]) add(vcpu, action)
  }
  return actions.size === 0 ? undefined : actions
}
