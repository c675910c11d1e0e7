// Debian packages that the project's commands need: which are missing, and installing them.
// Plain JavaScript and Node's own modules alone: this runs before anything is built.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { missingBuildTools } from './build-addon.mjs'

/** Programs that are looked for, and the package that brings each. */
const PROGRAMS = {
  'qemu-system-x86_64': 'qemu-system-x86',
  ip: 'iproute2',
  'mkfs.ext4': 'e2fsprogs',
  'dpkg-deb': 'dpkg',
  cpio: 'cpio',
  gdb: 'gdb',
  iasl: 'acpica-tools',
  lz4: 'lz4',
  passt: 'passt',
  'stress-ng': 'stress-ng',
  tcpdump: 'tcpdump',
  zsh: 'zsh',
  zstd: 'zstd',
}

/** With it apt checks Debian's packages where the system is not Debian itself. */
const DEBIAN_KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

/** `PATH`, and where administrators' programs are even when a user's PATH leaves them out. */
const searchPath = () =>
  [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'].filter(Boolean)

function installed(program) {
  return searchPath().some((directory) => existsSync(`${directory}/${program}`))
}

/**
 * @param {{ compiler: boolean, programs: string[] }} needs
 * @returns {string[]} names of Debian packages
 */
export function missingPackages({ compiler, programs }) {
  const tools = compiler ? missingBuildTools() : []
  const keyring = programs.includes('dpkg-deb') && !existsSync(DEBIAN_KEYRING)
  return [
    ...tools,
    ...programs.filter((program) => !installed(program)).map((name) => PROGRAMS[name]),
    ...(keyring ? ['debian-archive-keyring'] : []),
  ]
}

/** Whether apt-get can be used here. */
export function canInstall() {
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : ''
  return (
    process.getuid?.() === 0 &&
    /^ID(_LIKE)?=.*(debian|ubuntu)/m.test(release) &&
    installed('apt-get')
  )
}

export const installLine = (packages) => `apt-get install ${packages.join(' ')}`

/** @param {string[]} packages @throws Error with the end of apt-get's output */
export async function installPackages(packages) {
  if (!aptListsPresent()) await aptGet(['update'])
  const install = ['install', '--yes', '--no-install-recommends', ...packages]
  try {
    await aptGet(install)
  } catch {
    // The lists may be older than the archive.
    await aptGet(['update'])
    await aptGet(install)
  }
}

function aptListsPresent() {
  try {
    return readdirSync('/var/lib/apt/lists').some(
      (name) => name.endsWith('_Packages') || name.includes('_Packages.'),
    )
  } catch {
    return false
  }
}

function aptGet(args) {
  return new Promise((resolve, reject) => {
    const child = spawn('apt-get', args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    })
    let output = ''
    const keep = (data) => {
      output = (output + data).slice(-4096)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.on('error', reject)
    child.on('close', (status) =>
      status === 0
        ? resolve()
        : reject(new Error(`apt-get ${args[0]} failed (status ${status}):\n${output.trimEnd()}`)),
    )
  })
}

/** Whether a command can be run at all. */
export function runs(command, ...args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0
}
