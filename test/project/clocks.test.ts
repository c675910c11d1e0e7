import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root, sources } from '../helpers/imports.js'

/** Who looks at the time of day, which jumps as the host's clock is set. Everything else goes by a monotonic clock. */
const TIME_OF_DAY: Readonly<Record<string, string>> = {
  'lib/assets/cache.ts': 'the age of files',
  'lib/assets/debian-repository.ts': 'the date of a repository',
  'lib/assets/lock.ts': 'the age of files',
  'lib/backends/net/pcap-capture.ts': 'times of packets, from one look on by the monotonic clock',
  'lib/backends/share/attribute-operations.ts': 'times of files',
  'lib/cli/ps.ts': 'when a machine was started',
  'lib/cli/supervisor/server.ts': 'when a machine was started',
  'lib/devices/legacy/cmos-rtc.ts': "the guest's time of day",
  'lib/testing/boot-result.ts': 'names of files',
  'native/tap_capture.cc': 'times of packets',
}
const WALL_CLOCK =
  /\bDate\.now\b|\bnew Date\(\)|\bCLOCK_REALTIME\b|\bsystem_clock\b|\bgettimeofday\b/

it('no time limit goes by the time of day', () => {
  const native = readdirSync(join(root, 'native'), { encoding: 'utf8', recursive: true })
    .filter((name) => /\.(cc|h)$/.test(name) && !name.startsWith('guest-agent/'))
    .map((name) => join('native', name))
  const found = [...sources('lib'), ...native].filter((file) => {
    const code = readFileSync(join(root, file), 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
    return WALL_CLOCK.test(code)
  })
  expect(found.sort()).toEqual(Object.keys(TIME_OF_DAY).sort())
})
