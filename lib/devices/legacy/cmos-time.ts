/** RTC_CONTROL bits that say how the time registers are written. */
export const RTC_24H = 0x02
/** Set: binary. Clear: BCD. */
export const RTC_DM_BINARY = 0x04
const PM = 0x80

/** A point in time as the chip's registers hold it: plain numbers, UTC. */
export interface CmosTime {
  second: number
  minute: number
  hour: number
  /** 1 is Sunday. */
  weekday: number
  day: number
  month: number
  /** All four digits. */
  year: number
}

/** `milliseconds` since the Unix epoch. */
export function cmosTime(milliseconds: number): CmosTime {
  const date = new Date(milliseconds)
  return {
    second: date.getUTCSeconds(),
    minute: date.getUTCMinutes(),
    hour: date.getUTCHours(),
    weekday: date.getUTCDay() + 1,
    day: date.getUTCDate(),
    month: date.getUTCMonth() + 1,
    year: date.getUTCFullYear(),
  }
}

/** Milliseconds since the Unix epoch. Fields out of their range carry over, as in `Date.UTC`, so every guest value gives a time. */
export function milliseconds(time: Omit<CmosTime, 'weekday'>): number {
  const date = new Date(0)
  // Not Date.UTC, which takes the years 0 to 99 for 1900 to 1999.
  date.setUTCFullYear(time.year, time.month - 1, time.day)
  date.setUTCHours(time.hour, time.minute, time.second)
  return date.getTime()
}

/** A number from 0 to 99 as the data mode in `control` writes it. */
export function encode(value: number, control: number): number {
  return control & RTC_DM_BINARY ? value : (Math.floor(value / 10) << 4) | (value % 10)
}

export function decode(byte: number, control: number): number {
  return control & RTC_DM_BINARY ? byte : (byte >> 4) * 10 + (byte & 0x0f)
}

export function encodeHour(hour: number, control: number): number {
  if (control & RTC_24H) return encode(hour, control)
  return encode(hour % 12 || 12, control) | (hour >= 12 ? PM : 0)
}

export function decodeHour(byte: number, control: number): number {
  if (control & RTC_24H) return decode(byte, control)
  return (decode(byte & ~PM, control) % 12) + (byte & PM ? 12 : 0)
}
