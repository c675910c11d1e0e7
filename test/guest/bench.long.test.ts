import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const CLI = fileURLToPath(new URL('../../dist/bundle/cli/main.cjs', import.meta.url))

it('node-kvm bench measures with stock guests', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...[CLI, 'bench', 'linux', '--quick', '--json'],
  ])
  const { figures, missing } = JSON.parse(stdout) as {
    figures: { name: string; median: number; unit: string }[]
    missing: unknown[]
  }
  expect(missing).toEqual([])
  expect(figures.map(({ unit }) => unit)).toEqual([
    ...['ms', 'ms'],
    ...['MB/s', 'per s', 'MB/s', 'per s'],
    ...['ms', 'MB/s'],
  ])
  for (const { median } of figures) expect(median).toBeGreaterThan(0)
})
