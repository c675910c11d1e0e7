import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { CLI } from '../helpers/cli.js'

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
