// npm run test:stress: the tests beside stress-ng, which takes the processors, the memory and the disk from them: what
// fails there and nowhere else asks for a machine's speed.
// Usage: npm run test:stress [-- --rounds 10] [-- VITEST ARGUMENTS...], `--project unit --project kvm --project hostile`
// unless given
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { bootstrap, main } from './bootstrap.mjs'
import { packageRoot } from './lib/build-addon.mjs'
import { vitestWith } from './lib/vitest.mjs'

const STRESS = ['--cpu', '4', '--vm', '2', '--vm-bytes', '64M', '--io', '2', '--quiet']

await main(async () => {
  const { values, positionals } = parseArgs({
    options: { rounds: { type: 'string', default: '10' } },
    allowPositionals: true,
  })
  const rounds = Number(values.rounds)
  if (!(rounds > 0)) throw new Error(`--rounds: expected a number, got ${values.rounds}`)
  await bootstrap({ programs: ['stress-ng'] })
  // However this process ends, stress-ng is not left behind.
  const stress = spawn('setpriv', ['--pdeathsig', 'INT', 'stress-ng', ...STRESS], {
    stdio: 'inherit',
  })
  await once(stress, 'spawn')
  let failed = 0
  try {
    for (let round = 1; round <= rounds; round++) {
      const vitest = spawnSync(process.execPath, vitestWith(positionals), {
        cwd: packageRoot,
        stdio: 'inherit',
      })
      const passed = vitest.status === 0
      if (!passed) failed++
      process.stdout.write(`round ${round} of ${rounds}: ${passed ? 'passed' : 'failed'}\n`)
    }
  } finally {
    stress.kill('SIGINT')
  }
  process.stdout.write(`${rounds - failed} passed, ${failed} failed\n`)
  return failed === 0 ? 0 : 1
})
