// What runs in the process of a machine with `isolation: 'process'`: one machine, for the program at the other end of
// descriptor 3. It ends with the program.
import { Socket } from 'node:net'
import { Channel } from '../isolation/channel.js'
import { CHANNEL_FD } from '../machine/isolated/protocol.js'
import { MachineServer } from './machine-server.js'

const connection = new Socket({ fd: CHANNEL_FD, readable: true, writable: true })
const server = new MachineServer((events) => new Channel(connection, events))
server.onGone = () => process.exit()
