// Checks (or, with --fix, corrects) the format of the C++ sources; with --tidy runs clang-tidy on them instead.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { packageRoot } from './lib/build-addon.mjs'

const files = ['native', 'test/fuzz/native', 'test/load/programs']
  .flatMap((folder) =>
    readdirSync(join(packageRoot, folder), { recursive: true }).map((name) =>
      join(folder, String(name)),
    ),
  )
  .filter((name) => /\.(cc|c|h)$/.test(name))
  .sort()

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: packageRoot, stdio: 'inherit' })
  if (error?.code === 'ENOENT') {
    console.error(`${command} is not installed: apt-get install ${command}`)
    return 1
  }
  return status ?? 1
}

function tidy() {
  if (!existsSync(join(packageRoot, 'build-cmake/compile_commands.json'))) {
    const status = run('npx', ['--no-install', 'cmake-js', 'configure', '--out', 'build-cmake'])
    if (status !== 0) return status
  }
  const sources = files.filter((name) => name.startsWith('native/') && name.endsWith('.cc'))
  // The driver that runs several at once is a script of the same package, but not under this name everywhere.
  const jobs = [
    '-P',
    String(availableParallelism()),
    '-n',
    '1',
    'clang-tidy',
    '--quiet',
    '-p',
    'build-cmake',
  ]
  const { status } = spawnSync('xargs', jobs, {
    cwd: packageRoot,
    input: sources.join('\n'),
    stdio: ['pipe', 'inherit', 'inherit'],
  })
  return status ?? 1
}

if (process.argv.includes('--tidy')) process.exitCode = tidy()
else if (process.argv.includes('--fix')) process.exitCode = run('clang-format', ['-i', ...files])
else process.exitCode = run('clang-format', ['--dry-run', '--Werror', ...files])
