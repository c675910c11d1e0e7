import { execParameter, networkGuest } from './guest-assets.js'
import { GuestProcess } from './guest-process.js'
import type { GuestSpec, Monitor } from './peers.js'

/** What a guest of {@link session} says when its script is through. */
const FINISH = 'SESSION-END'

/** Values by name. */
export type Results = ReadonlyMap<string, number>

/** What a guest has said in lines `RESULT NAME VALUE`. */
export function readResults(output: string): Results {
  const lines = output.matchAll(/^RESULT (\S+) ([\d.e+]+)\r?$/gm)
  return new Map([...lines].map(([, name, value]) => [name!, Number(value)]))
}

/**
 * Boots a guest with a script and gives what it said in lines `RESULT NAME VALUE`: of one that does not come to its end
 * what it had said by then.
 * @param limit seconds from the monitor's start to the script's end
 * @param meanwhile is called once the monitor runs
 */
export async function session(
  monitor: Monitor,
  script: string,
  more: Partial<GuestSpec> & { parameters?: string },
  limit: number,
  meanwhile?: (guest: GuestProcess) => Promise<Results>,
): Promise<Results> {
  const { parameters = '', ...rest } = more
  const spec = await networkGuest(`${parameters} ${execParameter(`${script}\necho ${FINISH}`)}`)
  await using guest = new GuestProcess(monitor.command({ ...spec, ...rest }))
  try {
    const results = await meanwhile?.(guest)
    await guest.waitFor(FINISH, limit)
    return new Map([...readResults(guest.output), ...(results ?? [])])
  } catch (error) {
    const said = readResults(guest.output)
    if (said.size === 0) throw error
    process.stderr.write(`${monitor.name}: ${(error as Error).message}\n`)
    return said
  }
}
