// npm test: everything. Stock kernels run on this machine's KVM where it can run them, else in the emulated KVM host.
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bootstrap, main, step } from './bootstrap.mjs'
import { packageRoot } from './lib/build-addon.mjs'

const arguments_ = process.argv.slice(2)
const PROGRAMS = ['qemu-system-x86_64', 'ip', 'mkfs.ext4']
const VITEST = join(packageRoot, 'node_modules/vitest/vitest.mjs')

await main(async () => {
  await bootstrap({ programs: PROGRAMS, install: !arguments_.includes('--no-install') })
  const { kvmUsable } = await import('../dist/lib/index.js')
  const { prepareGuestAssets, runInEmulatedHost } = await import('../dist/lib/testing.js')
  await step('Fetching guest kernels', (report) => prepareGuestAssets({ report }))

  const results = mkdtempSync(join(tmpdir(), 'node-kvm-test-'))
  try {
    const { usable, why } = await kvmUsable()
    const suites = [
      { name: 'unit', kvm: 'none', run: here },
      { name: 'kvm', kvm: `this machine's /dev/kvm (${why})`, run: here },
      usable
        ? { name: 'guest', kvm: `this machine's /dev/kvm (${why})`, run: here }
        : {
            name: 'guest',
            kvm: 'the emulated KVM host',
            run: (args) => emulated(args, results, runInEmulatedHost),
          },
    ]
    const reports = []
    for (const suite of suites) {
      const file = join(results, `${suite.name}.json`)
      const status = await suite.run([
        'run',
        '--project',
        suite.name,
        '--reporter=default',
        '--reporter=json',
        `--outputFile.json=${file}`,
      ])
      reports.push({ ...suite, ...readReport(file, status) })
    }
    return summarize(reports)
  } finally {
    rmSync(results, { recursive: true, force: true })
  }
})

function here(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [VITEST, ...args], {
      cwd: packageRoot,
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    child.on('error', reject)
    child.on('close', (status) => resolve(status ?? 1))
  })
}

/** One start of the emulated host for all guest tests, since each start costs more than a guest's boot. */
async function emulated(args, results, runInEmulatedHost) {
  process.stdout.write('\nRunning the guest tests in the emulated KVM host\n')
  const { exitCode } = await runInEmulatedHost([process.execPath, VITEST, ...args], {
    cwd: packageRoot,
    shareReadWrite: [results],
    stdin: 'ignore',
    timeoutSeconds: 3600,
  })
  return exitCode
}

function readReport(file, status) {
  try {
    const { numPassedTests, numFailedTests, numPendingTests, success } = JSON.parse(
      readFileSync(file, 'utf8'),
    )
    // A file that does not load has no failed test, and yet has failed.
    const failed = success && status === 0 ? numFailedTests : Math.max(1, numFailedTests)
    return { passed: numPassedTests, failed, skipped: numPendingTests }
  } catch {
    return { passed: 0, failed: 1, skipped: 0 }
  }
}

function summarize(reports) {
  const sum = (field) => reports.reduce((total, report) => total + report[field], 0)
  process.stdout.write('\n')
  for (const { name, kvm, passed, failed, skipped } of reports) {
    process.stdout.write(
      `${name}: ${passed} passed, ${failed} failed, ${skipped} skipped; KVM: ${kvm}\n`,
    )
  }
  const skipped = sum('skipped')
  process.stdout.write(
    `${sum('passed')} passed, ${sum('failed')} failed${skipped ? `, ${skipped} skipped` : ''}\n`,
  )
  return sum('failed') === 0 && sum('passed') > 0 ? 0 : 1
}
