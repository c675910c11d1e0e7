// A FUSE file system with two files of 1 MiB each, for test/helpers/fuse-disk.ts: `eintr`, on which every read, write and
// fsync fails with EINTR the first time it is tried, and `short`, on which none moves more than 1000 bytes.
// Usage: node fuse-disk-server.mjs FOLDER. Ends with its mount, which goes with this process.
import { readSync } from 'node:fs'
import { constants } from 'node:os'
import * as fuse from './fuse-protocol.mjs'

const SIZE = 1 << 20
const SHORT = 1000
const { EINTR, ENOENT, ENOSYS } = constants.errno

const files = new Map([
  ['eintr', { node: 2, data: Buffer.alloc(SIZE, 'd') }],
  ['short', { node: 3, data: Buffer.alloc(SIZE, 'd') }],
])
const byNode = (node) => [...files.values()].find((file) => file.node === node)
/** Operations of `eintr` that have failed once. */
const interrupted = new Set()

const request = Buffer.alloc((1 << 20) + 4096)
const fd = mount()
process.stdout.write('mounted\n')

for (;;) {
  try {
    const length = readSync(fd, request)
    serve(request.subarray(0, length))
  } catch (error) {
    if (error.code === 'ENODEV') process.exit(0)
    if (error.code !== 'EINTR' && error.code !== 'ENOENT') throw error
  }
}

function mount() {
  try {
    return fuse.mountFuse(process.argv[2], ',default_permissions')
  } catch (error) {
    process.stderr.write(error.stderr ?? `${error.message}\n`)
    process.exit(1)
  }
}

function serve(message) {
  const asked = fuse.parseRequest(message)
  if (asked === undefined) return
  const { opcode, unique, node, input } = asked
  fuse.reply(fd, unique, fuse.answerOf(opcode, node, SIZE) ?? answer(opcode, node, input))
}

/** An errno, or the bytes of the answer. */
function answer(opcode, node, input) {
  const file = byNode(node)
  switch (opcode) {
    case fuse.INIT:
      return fuse.initAnswer(SIZE, 1 << 20)
    case fuse.LOOKUP: {
      const found = files.get(input.subarray(0, -1).toString())
      return found === undefined ? ENOENT : fuse.entryAnswer(found.node, SIZE)
    }
    case fuse.READ: {
      const offset = Number(input.readBigUInt64LE(8))
      const length = input.readUInt32LE(16)
      if (interrupts(node, `r${offset}`)) return EINTR
      return file.data.subarray(offset, offset + limit(node, length))
    }
    case fuse.WRITE: {
      const offset = Number(input.readBigUInt64LE(8))
      const length = limit(node, input.readUInt32LE(16))
      if (interrupts(node, `w${offset}`)) return EINTR
      input.copy(file.data, offset, 40, 40 + length)
      return fuse.writeAnswer(length)
    }
    case fuse.FSYNC:
      return interrupts(node, 'f') ? EINTR : 0
    default:
      return ENOSYS
  }
}

function interrupts(node, key) {
  if (node !== 2 || interrupted.delete(key)) return false
  interrupted.add(key)
  return true
}

function limit(node, length) {
  return node === 3 ? Math.min(length, SHORT) : length
}
