// A TCP server whose every byte goes through a guest: 16-bit code that reads a byte from its serial port and writes it
// back. Serves one connection, on any /dev/kvm.  node 05-echo-server.js 7777, and elsewhere  nc localhost 7777
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { VirtualMachine } from 'node-kvm'

// biome-ignore format: one instruction a line
const program = Uint8Array.from([
  0xba, 0xfd, 0x03, //    1: mov $0x3fd, %dx      the line status register
  0xec, //                2: in %dx, %al
  0xa8, 0x01, //             test $1, %al         has a byte come?
  0x74, 0xfb, //             jz 2b
  0xba, 0xf8, 0x03, //       mov $0x3f8, %dx      the data register
  0xec, //                   in %dx, %al
  0xee, //                   out %al, %dx
  0xeb, 0xf1, //             jmp 1b
])

await using vm = await VirtualMachine.create({
  kernel: program,
  flatBinary: { mode: 'real' },
  memory: '16M',
})
await vm.start()

const server = createServer().listen(Number(process.argv[2] ?? 0), '127.0.0.1')
await once(server, 'listening')
console.log(`echoing at port ${(server.address() as AddressInfo).port}`)
const [client] = (await once(server, 'connection')) as [Socket]
server.close()
client.pipe(vm.console.input, { end: false })
vm.console.output.pipe(client)
await once(client, 'end')
console.log('the client has left')
