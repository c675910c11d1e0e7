import { constants } from 'node:os'

/** The signal behind a status above 128, as shells tell it, undefined for any other status. */
export function signalOfStatus(status: number): NodeJS.Signals | undefined {
  const found = Object.entries(constants.signals).find(([, number]) => number === status - 128)
  return found?.[0] as NodeJS.Signals | undefined
}
