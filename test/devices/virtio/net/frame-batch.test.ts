import { expect, it } from 'vitest'
import { FrameBatch } from '../../../../lib/devices/virtio/net/frame-batch.js'

it.each([
  { lengths: [], empty: true, lone: false },
  { lengths: [1024], empty: false, lone: true },
  { lengths: [1025], empty: false, lone: false },
  { lengths: [60, 60], empty: false, lone: false },
])('tells a lone short frame from others: $lengths', ({ lengths, empty, lone }) => {
  const batch = new FrameBatch()
  for (const length of lengths) batch.add(length)
  expect(batch.empty).toBe(empty)
  expect(batch.lone).toBe(lone)
  batch.clear()
  batch.add(60)
  expect(batch.lone).toBe(true)
})
