import { describe, expect, it } from 'vitest'
import {
  type StatusStep,
  statusStep,
} from '../../../../lib/devices/virtio/transport/device-status.js'

const legal: [from: number, to: number, step: StatusStep][] = [
  [0x00, 0x01, 'acknowledge'],
  [0x00, 0x03, 'driver'],
  [0x01, 0x03, 'driver'],
  [0x03, 0x0b, 'features-ok'],
  [0x0b, 0x0f, 'driver-ok'],
]

describe('the status machine', () => {
  it.each([0x00, 0x01, 0x03, 0x0b, 0x0f, 0x83, 0x8f, 0x4f, 0xcf])(
    'from 0x%x moves by legal steps alone',
    (from) => {
      for (let written = 0; written < 256; written++) {
        const found = legal.find(([before, after]) => before === from && after === written)
        const mine = from & ~0x40
        const fails = (written & mine) === mine && (written & ~from) === 0x80
        const expected = written === 0 ? 'reset' : (found?.[2] ?? (fails ? 'failed' : 'ignore'))
        expect(statusStep(from, written), `0x${written.toString(16)}`).toBe(expected)
      }
    },
  )
})
