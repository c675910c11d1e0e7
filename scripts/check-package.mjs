// npm run test:package: packs, installs the tarball into an empty project elsewhere, without install scripts (so the
// prebuilt addon must do), and uses it there as a stranger would: JavaScript, TypeScript, the CLI, KVM if there is one.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { packageRoot } from './lib/build-addon.mjs'

const manifest = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'))
const entryPoints = Object.keys(manifest.exports)
  .filter((path) => !path.endsWith('.json'))
  .map((path) => join(manifest.name, path))
const directory = mkdtempSync(join(tmpdir(), 'node-kvm-package-'))
const project = join(directory, 'project')
const bin = (name) => join(packageRoot, 'node_modules/.bin', name)
let failures = 0

function step(name, action) {
  try {
    const note = action()
    console.log(`ok      ${name}${note ? `: ${note}` : ''}`)
    return true
  } catch (error) {
    failures++
    const output = [error.stdout, error.stderr]
      .map((text) => String(text ?? '').trim())
      .filter((text) => text !== '')
    console.log(`FAILED  ${name}\n${output.join('\n') || error.stack}`)
    return false
  }
}

function run(command, args, options = {}) {
  return execFileSync(command, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
  })
}

const inProject = { cwd: project }
const node = (code) => run(process.execPath, ['--input-type=module', '-e', code], inProject).trim()

let tarball = ''
let files = []

function pack() {
  const [packed] = JSON.parse(
    run('npm', ['pack', '--json', '--pack-destination', directory], { cwd: packageRoot }),
  )
  tarball = join(directory, packed.filename)
  files = packed.files.map(({ path }) => path)
  return `${packed.entryCount} files, ${Math.round(packed.size / 1024)} KiB`
}

function contents() {
  const missing = [
    'README.md',
    'LICENSE',
    'CHANGELOG.md',
    'binding.gyp',
    'scripts/install.mjs',
    'scripts/lib/build-addon.mjs',
    'prebuilds/linux-x64/node-kvm-agent',
  ]
    .concat(Object.values(manifest.bin).map((path) => path.replace('./', '')))
    .filter((path) => !files.includes(path))
  if (missing.length > 0) throw new Error(`not packed: ${missing.join(', ')}`)
  const prebuilds = files.filter((path) => path.startsWith('prebuilds/'))
  if (prebuilds.length === 0) throw new Error('there is no prebuilt addon')
  const stray = files.filter((path) => /^(test|bench|examples|build|\.ci)\//.test(path))
  if (stray.length > 0) throw new Error(`packed without need: ${stray.join(', ')}`)
  return prebuilds.join(', ')
}

function install() {
  mkdirSync(project)
  writeFileSync(
    join(project, 'package.json'),
    JSON.stringify({ name: 'empty', private: true, type: 'module' }),
  )
  run(
    'npm',
    ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', tarball],
    inProject,
  )
}

function useKvm() {
  if (!existsSync('/dev/kvm')) return 'no /dev/kvm here'
  return node(`
    import { Kvm } from '${manifest.name}/kvm'
    try {
      const kvm = Kvm.open()
      kvm.close()
      console.log('opened /dev/kvm')
    } catch (error) {
      if (error.code !== 'ERR_KVM_FORBIDDEN') throw error
      console.log('not allowed to open /dev/kvm')
    }`)
}

function typeCheck() {
  // The matchers' types want those of vitest, which an empty project lacks.
  const own = entryPoints.filter((name) => !name.endsWith('/vitest'))
  const imports = own.map(
    (name, i) => `import * as entry${i} from '${name}'\nexport const use${i}: object = entry${i}\n`,
  )
  writeFileSync(join(project, 'use.ts'), imports.join(''))
  for (const [module, resolution] of [
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ]) {
    const options = [
      '--noEmit',
      '--strict',
      '--target',
      'es2022',
      '--module',
      module,
      '--moduleResolution',
      resolution,
    ]
    run(
      bin('tsc'),
      [
        ...options,
        '--types',
        'node',
        '--typeRoots',
        join(packageRoot, 'node_modules/@types'),
        'use.ts',
      ],
      inProject,
    )
  }
}

try {
  if (step('pack', pack)) {
    step('contents', contents)
    step(
      'publint',
      () => run(bin('publint'), ['run', tarball, '--strict'], { cwd: packageRoot }) && '',
    )
    step(
      'are the types wrong',
      () => run(bin('attw'), [tarball, '--profile', 'esm-only'], { cwd: packageRoot }) && '',
    )
    if (step('install without scripts', install)) {
      for (const name of entryPoints) {
        step(`import ${name}`, () =>
          node(`console.log(Object.keys(await import('${name}')).length, 'exports')`),
        )
      }
      // Two copies of a class would make instanceof fail between entry points.
      step('one copy of each class', () =>
        node(`
          const [library, kvm, devices] = await Promise.all(
            ['', '/kvm', '/devices'].map((entry) => import('${manifest.name}' + entry)),
          )
          for (const [name, one, other] of [
            ['VmmError', library, kvm],
            ['KvmError', library, kvm],
            ['GuestMemory', library, kvm],
            ['FileDisk', library, devices],
          ]) {
            if (!one[name] || one[name] !== other[name]) throw new Error(name)
          }`),
      )
      step('load the prebuilt addon', () =>
        node(`import { EventFd } from '${manifest.name}/kvm'; new EventFd().close()`),
      )
      step('open KVM', useKvm)
      for (const name of Object.keys(manifest.bin)) {
        step(
          `${name} --help`,
          () => run(join(project, 'node_modules/.bin', name), ['--help'], inProject).split('\n')[0],
        )
      }
      step('type-check a program that imports everything', typeCheck)
    }
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}
console.log(failures === 0 ? 'the package works' : `${failures} of the steps failed`)
process.exitCode = failures === 0 ? 0 : 1
