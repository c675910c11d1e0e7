import { createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { FileDisk, Tap } from '../../lib/index.js'
import { diskRounds, exec, StockGuest, temporaryDisk } from './stock-guest.js'

const PAUSES = 1000
const HOST = '10.219.0.1'
/** Hundredths of a second: a clock that goes on by more between two looks at it has jumped, on whatever machine. */
const JUMP = 60_00

/** Writes to the disk and reads back, sends numbers to the host, and looks at the clock, until the host hangs up. */
const script = (port: number) => `
  ( last=0
    while [ ! -e /done ]; do
      read now rest < /proc/uptime
      now=\${now%.*}\${now#*.}
      if [ $last -gt 0 ] && [ $((now - last)) -gt ${JUMP} ]; then echo "clock jumped: $last $now"; fi
      if [ $now -lt $last ]; then echo "clock went back: $last $now"; fi
      last=$now
    done ) &
  ${diskRounds(4)}
  echo ready
  seq 1 2000000000 | nc ${HOST} ${port}
  touch /done
  wait
  echo finished`

it('a guest is paused a thousand times under load of its disk and network, and loses nothing', async () => {
  using disk = await temporaryDisk()
  const tap = new Tap('nkg%d', { create: true, address: `${HOST}/24` })
  let numbers = 0
  let rest = ''
  let wrong: string | undefined
  let client: Socket | undefined
  const server = createServer((socket) => {
    client = socket
    socket.setEncoding('latin1').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop()!
      for (const line of lines) {
        numbers++
        if (line !== String(numbers)) wrong ??= `${line} in place of ${numbers}`
      }
    })
    socket.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(0, resolve))
  const { port } = server.address() as { port: number }
  try {
    await using guest = await StockGuest.start(`nodekvm.ip=10.219.0.2/24 ${exec(script(port))}`, {
      cpus: 2,
      // A kind that processes share: it is looked at from here, wherever the machine is.
      memory: { size: '256M', kind: 'memfd' },
      disks: [new FileDisk(disk.path)],
      nets: [tap],
    })
    const { vm } = guest
    await guest.said('ready\r\n')
    let received = 0
    for (let i = 0; i < PAUSES; i++) {
      if (i % 100 === 99) await expect.poll(() => numbers).toBeGreaterThan(received)
      await vm.pause()
      // While it stands nothing of it moves.
      if (i % 100 === 99) {
        await sleep(100)
        const { buffer, byteOffset } = vm.memory.view(0x100_0000, 2 ** 20)
        const before = Buffer.from(Buffer.from(buffer, byteOffset, 2 ** 20))
        await sleep(100)
        expect(Buffer.compare(before, vm.memory.view(0x100_0000, 2 ** 20))).toBe(0)
        received = numbers
      }
      await vm.resume()
      await sleep(i % 10)
    }
    client!.destroy()
    await guest.said('finished\r\n')
    expect(await guest.ended()).toEqual({ kind: 'shutdown' })
    expect(wrong).toBe(undefined)
    expect(Number(/^rounds: (\d+)/m.exec(guest.log)?.[1])).toBeGreaterThan(0)
    const since = guest.log.slice(guest.log.indexOf('ready\r\n'))
    for (const said of [
      'clock',
      'write failed',
      'other data',
      'cmp:',
      'unstable',
      'stall',
      'hung',
    ]) {
      expect(since).not.toContain(said)
    }
  } finally {
    server.close()
  }
})
