// What file systems of tests say to the kernel by /dev/fuse (linux/fuse.h). Plain JavaScript: one of them is a program.
import { execFileSync } from 'node:child_process'
import { openSync, writeSync } from 'node:fs'

export const [FORGET, GETATTR, LOOKUP, OPEN, READ, WRITE, STATFS] = [2, 3, 1, 14, 15, 16, 17]
export const [RELEASE, FSYNC, FLUSH, INIT, INTERRUPT, BATCH_FORGET] = [18, 20, 25, 26, 36, 42]
const FOPEN_DIRECT_IO = 1
const HEADER = 40

/**
 * Mounts a file system on a folder.
 * @param {string} folder
 * @param {string} [more] mount options, with a comma before
 * @returns {number} the descriptor by which the kernel asks; what is mounted goes with it
 * @throws Error with `stderr`, if it cannot be mounted
 */
export function mountFuse(folder, more = '') {
  const fd = openSync('/dev/fuse', 'r+')
  const options = `fd=3,rootmode=40000,user_id=0,group_id=0${more}`
  execFileSync('mount', ['-i', '-t', 'fuse', '-o', options, 'none', folder], {
    stdio: ['ignore', 'ignore', 'pipe', fd],
  })
  return fd
}

/**
 * What the kernel asks; `undefined` if it wants no answer.
 * @param {Buffer} message
 */
export function parseRequest(message) {
  const opcode = message.readUInt32LE(4)
  if (opcode === FORGET || opcode === BATCH_FORGET || opcode === INTERRUPT) return undefined
  const unique = message.readBigUInt64LE(8)
  const node = Number(message.readBigUInt64LE(16))
  return { opcode, unique, node, input: message.subarray(HEADER) }
}

/**
 * @param {number} fd
 * @param {bigint} unique
 * @param {number | Uint8Array} result an errno, or the bytes of the answer
 */
export function reply(fd, unique, result) {
  const failed = typeof result === 'number'
  const head = Buffer.alloc(16)
  head.writeUInt32LE(16 + (failed ? 0 : result.length), 0)
  head.writeInt32LE(failed ? -result : 0, 4)
  head.writeBigUInt64LE(unique, 8)
  writeSync(fd, failed ? head : Buffer.concat([head, result]))
}

/**
 * What is answered alike whatever the files do: `undefined` for what is not.
 * @param {number} opcode
 * @param {number} node 1 is the root
 * @param {number} size bytes of a file
 */
export function answerOf(opcode, node, size) {
  switch (opcode) {
    case GETATTR:
      return Buffer.concat([Buffer.alloc(16), attributes(node, size)])
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
    default:
      return undefined
  }
}

/** Of INIT: protocol 7.31. @param {number} readAhead bytes @param {number} write bytes */
export function initAnswer(readAhead, write) {
  const body = Buffer.alloc(64)
  body.writeUInt32LE(7, 0)
  body.writeUInt32LE(31, 4)
  body.writeUInt32LE(readAhead, 8)
  body.writeUInt32LE(write, 20)
  return body
}

/** Of LOOKUP. @param {number} node @param {number} size */
export function entryAnswer(node, size) {
  const body = Buffer.alloc(40)
  body.writeBigUInt64LE(BigInt(node), 0)
  return Buffer.concat([body, attributes(node, size)])
}

/** Of WRITE. @param {number} length */
export function writeAnswer(length) {
  const body = Buffer.alloc(8)
  body.writeUInt32LE(length, 0)
  return body
}

function attributes(node, size) {
  const body = Buffer.alloc(88)
  body.writeBigUInt64LE(BigInt(node), 0)
  body.writeBigUInt64LE(BigInt(node === 1 ? 0 : size), 8)
  body.writeUInt32LE(node === 1 ? 0o40755 : 0o100644, 60)
  body.writeUInt32LE(1, 64) // nlink
  body.writeUInt32LE(4096, 80) // blksize
  return body
}
