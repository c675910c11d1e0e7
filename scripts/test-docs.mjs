// npm run test:docs: every command and program in README.md and docs/*.md, as a new user would try them: in an empty project
// that has the packed tarball; and what docs/ci runs. A comment before a block says what to do with it:
//   <!-- test: run -->            run it; `run kvm` where there is a /dev/kvm, `run guest` where stock kernels boot,
//                                 `run kvm bwrap` where there is that program too
//   <!-- test: types -->          compile it; `types with tap:Tap@node-kvm` gives it a variable that it lacks
//   <!-- test: file NAME -->      keep it as that file
//   <!-- test: status 0 1 -->     run it; these exit statuses are fine
//   <!-- test: skip REASON -->    leave it out, and say why
// `npm run test:docs -- --no-guests` leaves out what boots stock kernels, `--only-guests` all else, of which
// `--piece 1/2` does the first half. TypeScript and JavaScript are always compiled. A block of these kinds without such a
// comment is an error.
import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { packageRoot } from './lib/build-addon.mjs'
import { codeBlocks } from './lib/code-blocks.mjs'

const TESTED = new Set(['sh', 'js', 'ts', 'json'])
const directory = mkdtempSync(join(tmpdir(), 'node-kvm-docs-'))
const project = join(directory, 'project')
const bin = (name) => join(packageRoot, 'node_modules/.bin', name)
let passed = 0
let failed = 0

function result(what, error) {
  if (error === undefined) passed++
  else failed++
  console.log(error === undefined ? `ok      ${what}` : `FAILED  ${what}\n${error}`)
}

function run(command, args, { cwd = project, statuses = [0], timeout = 300_000 } = {}) {
  const path = `${join(project, 'node_modules/.bin')}:${process.env.PATH}`
  const env = { ...process.env, PATH: path, XDG_RUNTIME_DIR: join(directory, 'run') }
  const { status, signal, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    env,
    timeout,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  if (statuses.includes(status)) return undefined
  return `${error?.message ?? signal ?? `status ${status}`}\n${stdout.slice(-3000)}${stderr.slice(-3000)}`
}

function install() {
  mkdirSync(project)
  mkdirSync(join(directory, 'run'), { mode: 0o700 })
  const pack = ['pack', '--json', '--pack-destination', directory]
  const { stdout, status, stderr } = spawnSync('npm', pack, { cwd: packageRoot, encoding: 'utf8' })
  if (status !== 0) throw new Error(`npm pack failed:\n${stderr}`)
  const tarball = join(directory, JSON.parse(stdout)[0].filename)
  const manifest = { name: 'empty', private: true, type: 'module' }
  writeFileSync(join(project, 'package.json'), JSON.stringify(manifest))
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline']
  const failure = run('npm', ['install', ...flags, tarball])
  if (failure) throw new Error(`npm install failed:\n${failure}`)
  // What a user of TypeScript and vitest has besides.
  for (const name of ['vitest', '@types', 'typescript', 'undici-types']) {
    const target = join(packageRoot, 'node_modules', name)
    if (existsSync(target)) symlinkSync(target, join(project, 'node_modules', name))
  }
}

const TSC = [
  ...['--strict', '--target', 'es2022', '--lib', 'es2023,esnext.disposable', '--types', 'node'],
  ...['--module', 'nodenext', '--skipLibCheck', '--allowJs', '--outDir', 'out'],
]

function prelude(note) {
  const [, name, type, module] = / with (\w+):(\w+)@(\S+)$/.exec(note) ?? []
  return name === undefined
    ? ''
    : `import type { ${type} } from '${module}'\ndeclare const ${name}: ${type}\n`
}

/** Compiles all programs at once, and gives of each its error, if it has one, and what is to be run. */
function compile(blocks) {
  const sources = blocks.map((block, index) => {
    const [, named] = /^\/\/ ([\w.-]+\.(?:mjs|ts))$/.exec(block.code.split('\n')[0]) ?? []
    const source = named ?? `block-${index}.${block.language === 'ts' ? 'ts' : 'mjs'}`
    // Each is a module, with names of its own.
    writeFileSync(join(project, source), `${prelude(block.note)}${block.code}\nexport {}\n`)
    return source
  })
  const output = run(bin('tsc'), [...TSC, ...sources]) ?? ''
  const errors = output.split('\n').filter((line) => line.includes('error TS'))
  const isOthers = (line) => !sources.some((source) => line.startsWith(`${source}(`))
  const common = errors.length > 0 || output === '' ? errors.filter(isOthers) : [output]
  return new Map(
    blocks.map((block, index) => {
      const source = sources[index]
      const own = errors.filter((line) => line.startsWith(`${source}(`))
      const error = [...common, ...own].join('\n') || undefined
      const program = source.endsWith('.ts') ? `out/${source.replace('.ts', '.js')}` : source
      return [block, { error, program }]
    }),
  )
}

/** What is typed on a console that a command of the guides leaves open: nothing else ends that guest. */
const TYPED = 'while sleep 2; do echo poweroff -f || break; done;'

/** The files that the guides' commands name: a stock kernel, an initramfs, a disk, and a root file system. */
async function makeFiles() {
  const testing = await import(join(packageRoot, 'dist/bundle/testing.js'))
  const kernel = await testing.kernelAsset('6.12')
  cpSync(kernel.vmlinuz, join(project, 'vmlinuz'))
  cpSync(await testing.guestInitramfs(kernel, { agent: true }), join(project, 'initrd.img'))
  cpSync(await testing.ext4Image(), join(project, 'disk.img'))
  const root = join(directory, 'root')
  for (const name of ['bin', 'etc']) mkdirSync(join(root, name), { recursive: true })
  writeFileSync(join(root, 'bin/busybox'), await testing.busyboxAsset(), { mode: 0o755 })
  symlinkSync('busybox', join(root, 'bin/cat'))
  writeFileSync(join(root, 'etc/os-release'), 'NAME="a root file system"\n')
  const error = run('tar', ['-C', root, '-cf', join(project, 'image.tar'), '.'])
  if (error) throw new Error(error)
}

const kvm = existsSync('/dev/kvm')
const guests = []
const noGuests = process.argv.includes('--no-guests')
const onlyGuests = process.argv.includes('--only-guests')
/** `--piece 1/2`: the first half of what boots stock kernels. */
const [piece, pieces] = (/--piece (\d+)\/(\d+)/.exec(process.argv.join(' ')) ?? [0, 1, 1])
  .slice(1)
  .map(Number)

function test(block, index, compiled) {
  const what = `${block.file}:${block.line} ${block.code.trim().split('\n')[0].slice(0, 60)}`
  const [action, ...words] = (block.note ?? 'none').split(' ')
  if (action === 'none') return result(what, 'there is no comment that says what to do with it')
  if (action === 'skip') return console.log(`skipped ${what}: ${words.join(' ')}`)
  if (action === 'file') {
    writeFileSync(join(project, words[0]), block.code)
    return result(what, block.language === 'json' ? parseError(block.code) : undefined)
  }
  const lacking = action === 'run' && lackingOf(words)
  if (lacking) return console.log(`skipped ${what}: there is no ${lacking}`)
  if (block.language === 'sh' && words[0] === 'guest') {
    if (noGuests) return console.log(`skipped ${what}: --no-guests`)
    const script = `block-${index}.sh`
    writeFileSync(join(project, script), block.code)
    return guests.push({ what, command: `{ ${TYPED} } | sh -e ${script}` })
  }
  if (block.language === 'sh') {
    const statuses = action === 'status' ? words.map(Number) : [0]
    return result(what, run('sh', ['-e', '-c', block.code], { statuses }))
  }
  const { error, program } = compiled.get(block)
  if (error !== undefined || action === 'types') return result(what, error)
  if (words[0] === 'guest') {
    if (noGuests) return console.log(`skipped ${what}: --no-guests`)
    return guests.push({ what, command: `node ${program}` })
  }
  return result(what, run(process.execPath, [program]))
}

function lackingOf(words) {
  if (words.includes('kvm') && !kvm) return '/dev/kvm'
  const programs = words.filter((word) => word !== 'kvm' && word !== 'guest')
  return programs.find((name) => spawnSync('which', [name]).status !== 0)
}

function parseError(text) {
  try {
    JSON.parse(text)
    return undefined
  } catch (error) {
    return error.message
  }
}

/** In one start of the emulated host, or here, if stock kernels boot here. */
async function runGuests() {
  const each = Math.ceil(guests.length / pieces)
  guests.splice(0, guests.length, ...guests.slice((piece - 1) * each, piece * each))
  if (guests.length === 0) return
  await makeFiles()
  // Folders that a command shares.
  const lines = ['mkdir -p /srv/work /opt/tools']
  for (const [i, { command }] of guests.entries()) {
    lines.push(`{ ${command}; } >guest-${i}.log 2>&1; echo $? >guest-${i}.status`)
  }
  writeFileSync(join(project, 'guests.sh'), `${lines.join('\n')}\n`)
  const { kvmUsable } = await import(join(packageRoot, 'dist/bundle/index.js'))
  const { usable } = await kvmUsable()
  const host = ['host', '--cpus', '1', '--share-rw', project, '--', 'sh', 'guests.sh']
  const error = usable
    ? run('sh', ['guests.sh'], { timeout: 600_000 })
    : run(join(project, 'node_modules/.bin/node-kvm'), host, { timeout: 600_000 })
  for (const [i, { what }] of guests.entries()) {
    const read = (kind) => {
      const path = join(project, `guest-${i}.${kind}`)
      return existsSync(path) ? readFileSync(path, 'utf8') : ''
    }
    result(
      what,
      read('status').trim() === '0' ? undefined : `${read('log').slice(-4000)}${error ?? ''}`,
    )
  }
}

/** The ready workflow's own command, with the example suite as the suite of the project. */
function runWorkflow() {
  const file = 'docs/ci/kernel-tests.yml'
  const steps = readFileSync(join(packageRoot, file), 'utf8').matchAll(/^ *- run: (npx .*)$/gm)
  for (const [, command] of steps) {
    const what = `${file}: ${command}`
    if (noGuests || piece < pieces) {
      console.log(`skipped ${what}: not in this part`)
      continue
    }
    const suite = 'examples/09-kernel-tests.test.ts'
    writeFileSync(join(project, 'kernel.test.ts'), readFileSync(join(packageRoot, suite)))
    const error = run('sh', ['-e', '-c', command])
    const report = join(project, 'junit.xml')
    const junit = existsSync(report) ? readFileSync(report, 'utf8') : ''
    const isWhole = /<testsuites[^>]* tests="[1-9]\d*" failures="0" errors="0"/.test(junit)
    result(
      what,
      error ?? (isWhole ? undefined : `junit.xml tells of no test, or of failures:\n${junit}`),
    )
  }
}

try {
  install()
  const docs = readdirSync(join(packageRoot, 'docs')).filter((name) => name.endsWith('.md'))
  const files = ['README.md', ...docs.map((name) => `docs/${name}`)]
  const blocks = files.flatMap((file) =>
    codeBlocks(file, readFileSync(join(packageRoot, file), 'utf8')),
  )
  // With --only-guests others may need the files.
  const wanted = blocks
    .filter(({ language }) => TESTED.has(language))
    .filter(({ note = '' }) => !onlyGuests || /^(run guest|file )/.test(note))
  const programs = wanted.filter(
    ({ language, note = '' }) =>
      (language === 'js' || language === 'ts') && /^(run|types)\b/.test(note),
  )
  const compiled = compile(programs)
  for (const [index, block] of wanted.entries()) test(block, index, compiled)
  await runGuests()
  runWorkflow()
} catch (error) {
  result('set up', error.stack)
} finally {
  rmSync(directory, { recursive: true, force: true })
}
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 && passed > 0 ? 0 : 1
