// Tries what a program in a jail must not be able to do, and says what came of each. Started by jail.kvm.test.ts.
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import { connect, createServer } from 'node:net'
import { setPriority } from 'node:os'

const [secret, outside, port, parent, socket] = process.argv.slice(2)
const dial = (options) =>
  new Promise((resolve, reject) => connect(options, resolve).on('error', reject))
const listen = (number) =>
  new Promise((resolve, reject) =>
    createServer().on('error', reject).listen(number, '127.0.0.1', resolve),
  )

const attempts = {
  'read a file outside': () => fs.readFileSync(secret),
  'list a folder outside': () => fs.readdirSync('/root'),
  'write a file outside': () => fs.writeFileSync(outside, 'x'),
  'remove a file outside': () => fs.unlinkSync(secret),
  'run a program outside': () => execFileSync(outside),
  'connect to a port': () => dial({ port: Number(port), host: '127.0.0.1' }),
  'listen on a port': () => listen(0),
  'connect to an abstract socket': () => dial({ path: `\0${socket}` }),
  'signal the process that started it': () => process.kill(Number(parent), 0),
  'find a descriptor that was left open': () => {
    const links = fs.readdirSync('/proc/self/fd').map((fd) => {
      try {
        return fs.readlinkSync(`/proc/self/fd/${fd}`)
      } catch {
        return ''
      }
    })
    if (!links.includes(secret)) throw Object.assign(new Error('none'), { code: 'NONE' })
  },
  'gain priority': () => setPriority(-20),
  'become somebody else': () => process.setuid(12345),
  'give a file away': () => fs.chownSync('allowed', 12345, 12345),
  'mount a file system': () =>
    execFileSync('/usr/bin/mount', ['-t', 'tmpfs', 'none', '.'], { stdio: 'pipe' }),
  'leave its name spaces': () =>
    execFileSync('/usr/bin/unshare', ['-U', '/usr/bin/true'], { stdio: 'pipe' }),
  'open more files than it may': () => Array.from({ length: 100 }, () => fs.openSync('/dev/null')),
}
fs.writeFileSync('allowed', 'written')
console.log(JSON.stringify(['what is allowed', fs.readFileSync('allowed', 'utf8')]))
for (const [what, attempt] of Object.entries(attempts)) {
  const outcome = await Promise.resolve()
    .then(attempt)
    .then(
      () => 'DONE',
      (error) => error.code ?? `status ${error.status}`,
    )
  console.log(JSON.stringify([what, outcome]))
}
process.exit()
