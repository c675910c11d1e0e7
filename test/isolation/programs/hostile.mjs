// A machine's process that a guest has taken over: answers `create` as a machine does, and once the guest is to run it
// does what its machine's name says. Started by isolated.kvm.test.ts in place of a machine.
import { Socket } from 'node:net'

const channel = new Socket({ fd: 3 })
const KINDS = { message: 1, request: 2, reply: 3, open: 5 }
const frame = (kind, id, value, bytes = Buffer.alloc(0)) => {
  const json = Buffer.from(JSON.stringify(value))
  const header = Buffer.alloc(12)
  header.writeUInt32LE(4 + json.length + bytes.length, 0)
  header.writeUInt32LE(((KINDS[kind] << 24) | id) >>> 0, 4)
  header.writeUInt32LE(json.length, 8)
  return Buffer.concat([header, json, bytes])
}
const message = (name, value, bytes) => frame('message', 0, [name, value], bytes)
const zero = { count: 0, synchronous: 0, nanoseconds: 0 }
const stats = {
  ...{ exits: [], ports: [], mmio: [], otherAccesses: zero, coalescedWrites: 0, vcpus: [] },
  ...{ devices: [], kvm: {} },
}
const snapshot = { stats, disks: [], nets: [] }
/** For as long as the program listens. */
const flood = (bytes) => {
  while (channel.write(bytes));
  channel.once('drain', () => flood(bytes))
}

const attacks = {
  garbage: () => channel.write(Buffer.alloc(2 ** 16, 0xee)),
  silence: () => {},
  'a long frame': () => channel.write(Buffer.alloc(8, 0xff)),
  'a message that is none': () => channel.write(message('obey', {})),
  'a state that is none': () => channel.write(message('state', { ...snapshot, stats: 5 })),
  'a state of many devices': () => {
    const disks = Array.from({ length: 5000 }, () => ({ name: 'x', engine: 'x', counters: {} }))
    channel.write(message('state', { ...snapshot, disks }))
  },
  'a state with names of any length': () => {
    const disks = [{ name: 'x'.repeat(2 ** 19), engine: 'x', counters: {} }]
    channel.write(message('state', { ...snapshot, disks }))
  },
  'a reason that is none': () => channel.write(message('stopped', { kind: '__proto__' })),
  'a warning that is none': () => channel.write(message('warning', { kind: 'x' })),
  'streams that nobody takes': () => channel.write(frame('open', 1, ['obey', {}])),
  'output without end': () => flood(message('output', { from: 'console' }, Buffer.alloc(2 ** 16))),
  'warnings without end': () =>
    flood(message('warning', { kind: 'guest-panicked', crashLoaded: false })),
  'states without end': () => flood(message('state', snapshot)),
  'requests to disks that are not there': () => {
    for (let id = 0; id < 500; id++)
      channel.write(frame('request', id, ['disk.read', { disk: id }]))
    setTimeout(() => process.exit(), 200)
  },
  'a sudden end': () => process.exit(3),
}

let attack
let waiting = Buffer.alloc(0)
channel.on('data', (chunk) => {
  waiting = Buffer.concat([waiting, chunk])
  while (waiting.length >= 8 && waiting.length >= 8 + waiting.readUInt32LE(0)) {
    const payload = waiting.subarray(8, 8 + waiting.readUInt32LE(0))
    const id = waiting.readUIntLE(4, 3)
    waiting = waiting.subarray(8 + payload.length)
    const [name, value] = JSON.parse(payload.subarray(4, 4 + payload.readUInt32LE(0)))
    if (name === 'create') {
      attack = attacks[value.name]
      channel.write(frame('reply', id, snapshot))
    } else if (name === 'run') attack()
  }
})
