// npm run -s test:hostile: every test that test/hostile/list.json names, and the cases that are named by its lines.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bootstrap, main } from './bootstrap.mjs'
import { packageRoot } from './lib/build-addon.mjs'
import { count, readResults } from './lib/results.mjs'
import { vitest } from './lib/vitest.mjs'

const PROJECTS = ['hostile', 'load', 'unit', 'kvm']

await main(async () => {
  await bootstrap()
  const list = JSON.parse(readFileSync(join(packageRoot, 'test/hostile/list.json'), 'utf8'))
  const named = list.flatMap(({ tests = [] }) => tests.map(([file]) => file))
  const files = new Set(named.filter((file) => /\.(test|load)\.ts$/.test(file)))
  const directory = mkdtempSync(join(tmpdir(), 'node-kvm-hostile-'))
  try {
    const results = join(directory, 'results.jsonl')
    spawnSync(process.execPath, vitest(PROJECTS, ['test/hostile/', ...files]), {
      cwd: packageRoot,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, NODE_KVM_RESULTS: results },
    })
    const { passed, failed } = count(readResults(results))
    process.stdout.write(`\n${passed} passed, ${failed} failed\n`)
    return failed === 0 && passed > 0 ? 0 : 1
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})
