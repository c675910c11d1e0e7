// A FUSE file system with two files of 1 MiB each, for test/helpers/fuse-disk.ts: `eintr`, on which every read, write and
// fsync fails with EINTR the first time it is tried, and `short`, on which none moves more than 1000 bytes.
// Usage: node fuse-disk-server.mjs FOLDER. Ends with its mount, which goes with this process.
import { spawnSync } from 'node:child_process'
import { openSync, readSync, writeSync } from 'node:fs'
import { constants } from 'node:os'

// <linux/fuse.h>
const [LOOKUP, FORGET, GETATTR, OPEN, READ, WRITE, STATFS] = [1, 2, 3, 14, 15, 16, 17]
const [RELEASE, FSYNC, FLUSH, INIT, INTERRUPT, BATCH_FORGET] = [18, 20, 25, 26, 36, 42]
const FOPEN_DIRECT_IO = 1
const HEADER = 40
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

const fd = openSync('/dev/fuse', 'r+')
const request = Buffer.alloc((1 << 20) + 4096)
const options = `fd=3,rootmode=40000,user_id=0,group_id=0,default_permissions`
const mounted = spawnSync('mount', ['-i', '-t', 'fuse', '-o', options, 'none', process.argv[2]], {
  stdio: ['ignore', 'ignore', 'pipe', fd],
})
if (mounted.status !== 0) {
  process.stderr.write(mounted.stderr)
  process.exit(1)
}
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

function serve(message) {
  const opcode = message.readUInt32LE(4)
  const unique = message.readBigUInt64LE(8)
  const node = Number(message.readBigUInt64LE(16))
  if (opcode === FORGET || opcode === BATCH_FORGET || opcode === INTERRUPT) return
  const result = answer(opcode, node, message.subarray(HEADER))
  const body = typeof result === 'number' ? Buffer.alloc(0) : result
  const head = Buffer.alloc(16)
  head.writeUInt32LE(16 + body.length, 0)
  head.writeInt32LE(typeof result === 'number' ? -result : 0, 4)
  head.writeBigUInt64LE(unique, 8)
  writeSync(fd, Buffer.concat([head, body]))
}

/** An errno, or the bytes of the answer. */
function answer(opcode, node, input) {
  const file = byNode(node)
  switch (opcode) {
    case INIT: {
      const body = Buffer.alloc(64)
      body.writeUInt32LE(7, 0)
      body.writeUInt32LE(31, 4)
      body.writeUInt32LE(SIZE, 8) // max_readahead
      body.writeUInt32LE(1 << 20, 20) // max_write
      return body
    }
    case LOOKUP: {
      const found = files.get(input.subarray(0, -1).toString())
      if (found === undefined) return ENOENT
      const body = Buffer.alloc(40)
      body.writeBigUInt64LE(BigInt(found.node), 0)
      return Buffer.concat([body, attributes(found.node)])
    }
    case GETATTR:
      return Buffer.concat([Buffer.alloc(16), attributes(node)])
    case OPEN: {
      const body = Buffer.alloc(16)
      body.writeUInt32LE(FOPEN_DIRECT_IO, 8)
      return body
    }
    case STATFS:
      return Buffer.alloc(80)
    case RELEASE:
    case FLUSH:
      return 0
    case READ: {
      const offset = Number(input.readBigUInt64LE(8))
      const length = input.readUInt32LE(16)
      if (interrupts(node, `r${offset}`)) return EINTR
      return file.data.subarray(offset, offset + limit(node, length))
    }
    case WRITE: {
      const offset = Number(input.readBigUInt64LE(8))
      const length = limit(node, input.readUInt32LE(16))
      if (interrupts(node, `w${offset}`)) return EINTR
      input.copy(file.data, offset, 40, 40 + length)
      const body = Buffer.alloc(8)
      body.writeUInt32LE(length, 0)
      return body
    }
    case FSYNC:
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

function attributes(node) {
  const body = Buffer.alloc(88)
  body.writeBigUInt64LE(BigInt(node), 0)
  body.writeBigUInt64LE(BigInt(node === 1 ? 0 : SIZE), 8)
  body.writeUInt32LE(node === 1 ? 0o40755 : 0o100644, 60)
  body.writeUInt32LE(1, 64) // nlink
  body.writeUInt32LE(4096, 80) // blksize
  return body
}
