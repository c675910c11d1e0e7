/** What a device has counted: requests, bytes, kicks, what was dropped. */
export interface DeviceStatistics {
  /** `'block0'`, `'net1'`, `'console'`. */
  readonly name: string
  /** Since the machine was made. */
  readonly counters: Readonly<Record<string, number>>
}

/** What has counters, by whatever names. */
export interface Counting {
  readonly name: string
  readonly counters?: object
}

/** The numbers that a device and what it is plugged into have counted, together. */
export function deviceStatistics(
  device: Counting,
  ...others: (object | undefined)[]
): DeviceStatistics {
  const all = Object.assign({}, device.counters, ...others) as Readonly<Record<string, unknown>>
  const numbers = Object.entries(all).filter(([, value]) => typeof value === 'number')
  return { name: device.name, counters: Object.fromEntries(numbers) as Record<string, number> }
}
