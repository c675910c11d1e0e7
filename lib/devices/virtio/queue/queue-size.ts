import { invalidOption } from '../../../errors.js'

/** @throws VmmError `ERR_INVALID_OPTION` unless `value` is a power of two from 4 to 1024 */
export function checkQueueSize(option: string, value: number): number {
  const fits = Number.isInteger(value) && value >= 4 && value <= 1024
  if (!fits || (value & (value - 1)) !== 0)
    throw invalidOption(option, value, 'a power of two from 4 to 1024')
  return value
}

/** @throws VmmError `ERR_INVALID_OPTION` unless `value` is a whole number from 1 to `most` */
export function checkCount(option: string, value: number, most: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= most) return value
  throw invalidOption(option, value, `a whole number from 1 to ${most}`)
}
