import { type ErrorDetails, VmmError } from '../errors.js'

/** `disks[0]: …` in front of an error that opening a backend raised, so that it names the option. */
export function blameOption(option: string, error: unknown): unknown {
  if (!(error instanceof VmmError)) return error
  const name = error.option ? `${option}.${error.option}` : option
  const details: { -readonly [K in keyof ErrorDetails]: ErrorDetails[K] } = {
    option: name,
    value: error.value,
    cause: error,
  }
  if (error.expected !== undefined) details.expected = error.expected
  return new VmmError(error.code, `${option}: ${error.message}`, details)
}
