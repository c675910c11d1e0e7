import { spawnSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { signalOfStatus } from '../../lib/emulated-host/signals.js'

it.each(['SIGTERM', 'SIGKILL', 'SIGSEGV'] as const)('knows %s by a shell’s status', (signal) => {
  const { status } = spawnSync('sh', ['-c', `sh -c 'kill -${signal.slice(3)} $$'; exit $?`])
  expect(signalOfStatus(status ?? -1)).toBe(signal)
})

it.each([0, 1, 127, 128, 255])('takes status %d for no signal', (status) => {
  expect(signalOfStatus(status)).toBeUndefined()
})
