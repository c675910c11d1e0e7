// Tries what a machine's process must not be able to do, and says what came of each on its channel. Started by
// isolated.kvm.test.ts in place of a machine; what it needs to know comes by the channel.
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import { connect, createServer, Socket } from 'node:net'
import { setPriority } from 'node:os'

const channel = new Socket({ fd: 3 })
const told = await new Promise((resolve) => channel.once('data', resolve))
const { secret, folder, port, parent } = JSON.parse(told.subarray(told.indexOf('{')))
const settled = (start) => new Promise((resolve, reject) => start(resolve).on('error', reject))

const attempts = {
  'read a file': () => fs.readFileSync(secret),
  'read the password file': () => fs.readFileSync('/etc/passwd'),
  'list a folder': () => fs.readdirSync(folder),
  'write a file': () => fs.writeFileSync(`${folder}/made`, 'x'),
  'remove a file': () => fs.unlinkSync(secret),
  'run a shell': () => execFileSync('/bin/sh', ['-c', 'exit 0']),
  'run a program of the system': () => execFileSync('/usr/bin/true'),
  'connect to a port': () => settled((done) => connect({ port, host: '127.0.0.1' }, done)),
  'listen on a port': () => settled((done) => createServer().listen(0, '127.0.0.1', done)),
  'signal the program': () => process.kill(parent, 0),
  'read the memory of the program': () => fs.openSync(`/proc/${parent}/mem`),
  'open a network interface': () => fs.openSync('/dev/net/tun', 'r+'),
  'gain priority': () => setPriority(-20),
  'become somebody else': () => process.setuid(12345),
  'have more descriptors than its own': () => {
    const open = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12].filter((fd) => {
      try {
        return fs.readlinkSync(`/proc/self/fd/${fd}`) === secret
      } catch {
        return false
      }
    })
    if (open.length === 0) throw Object.assign(new Error('none'), { code: 'NONE' })
  },
}
const outcomes = {}
for (const [what, attempt] of Object.entries(attempts)) {
  outcomes[what] = await Promise.resolve()
    .then(attempt)
    .then(
      () => 'DONE',
      (error) => error.code ?? `status ${error.status}`,
    )
}
channel.end(JSON.stringify(outcomes), () => process.exit())
