import { InvalidArgumentError } from 'commander'

/** The parts of `A,B,C`. A comma that belongs to a part is written twice. */
export function splitSpec(text: string): string[] {
  return text.split(/(?<!,),(?!,)/).map((part) => part.replaceAll(',,', ','))
}

export function keyValue(part: string): [string, string | undefined] {
  const at = part.indexOf('=')
  return at < 0 ? [part, undefined] : [part.slice(0, at), part.slice(at + 1)]
}

/** @throws InvalidArgumentError naming the part that it is in */
export function wholeNumber(part: string, text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError(`'${part}': expected a whole number`)
  return Number(text)
}

/** Above what any list of processors or nodes has: `0-999999999` is no list to make. */
const LIST_MAX = 4096

/**
 * Numbers and ranges: `0-3+6` is 0, 1, 2, 3 and 6.
 * @throws InvalidArgumentError naming the part that it is in
 */
export function numberList(part: string, text: string): number[] {
  return text.split('+').flatMap((range) => {
    const [, first = '', last = first] = /^(\d+)(?:-(\d+))?$/.exec(range) ?? []
    const length = first === '' ? 0 : Number(last) - Number(first) + 1
    if (length < 1 || length > LIST_MAX) {
      throw new InvalidArgumentError(`'${part}': expected numbers and ranges, such as 0-3+6`)
    }
    return Array.from({ length }, (_, i) => Number(first) + i)
  })
}

export function unknownPart(part: string, expected: string): InvalidArgumentError {
  return new InvalidArgumentError(`'${part}' is not known here; expected ${expected}`)
}
