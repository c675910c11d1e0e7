import { randomBytes } from 'node:crypto'
import { invalidOption } from '../../errors.js'
import type { MacAddress } from './net-backend.js'

/** A random address, locally administered and unicast. */
export function randomMac(): MacAddress {
  const bytes = randomBytes(6)
  bytes[0] = (bytes[0]! & 0xfc) | 0x02
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}

/** @throws VmmError `ERR_INVALID_OPTION` unless `value` is the MAC address of one card */
export function checkMac(value: unknown): MacAddress {
  const text = typeof value === 'string' ? value.toLowerCase() : ''
  const unicast = /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/.test(text)
  if (!unicast || text === '00:00:00:00:00:00') {
    throw invalidOption('mac', value, "a unicast MAC address such as '52:54:00:12:34:56'")
  }
  return text
}
