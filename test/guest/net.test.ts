import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { expect, it } from 'vitest'
import { Tap } from '../../lib/devices.js'
import { freePort } from '../helpers/free-port.js'
import { defaultRoute, GATEWAY, HostServer, noPasst, passtNetwork } from './passt-network.js'
import { exec, ping, StockGuest, waitFor } from './stock-guest.js'

const HOST = '10.217.0.1'
const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8' })

it('a Linux guest uses every queue pair, sets its address and sees the link go down', async () => {
  const tap = new Tap('nkg%d', { create: true, queues: 2, mtu: 1400, address: `${HOST}/24` })
  // The driver looks at the link in its own time.
  const carrier = waitFor('[ "$(cat carrier)" = 1 ]')
  const script = `
    cd /sys/class/net/eth0
    ${carrier}
    echo "mtu $(cat mtu), pairs $(ls -d queues/rx-* | wc -l), carrier $(cat carrier)"
    ip link set eth0 down
    ip link set eth0 address 52:54:00:aa:bb:cc && ip link set eth0 up
    ip link set eth0 promisc on && ip link set eth0 promisc off
    ${carrier}
    ${ping(8, HOST)}
    echo waiting
    while [ "$(cat carrier)" = 1 ]; do sleep 0.1; done
    echo "carrier $(cat carrier)"`
  await using guest = await StockGuest.start(`nodekvm.ip=10.217.0.2/24 ${exec(script)}`, {
    cpus: 2,
    nets: [tap],
  })
  await guest.said('waiting\r\n')
  expect(guest.log).toContain('mtu 1400, pairs 2, carrier 1')
  expect(guest.log).toContain('8 of 8 came back')
  const neighbours = execFileSync('ip', ['neighbour', 'show', 'dev', tap.name], {
    encoding: 'utf8',
  })
  expect(neighbours).toContain('52:54:00:aa:bb:cc')
  ip('link', 'del', tap.name)
  expect(await guest.ended()).toEqual({ kind: 'shutdown' })
  expect(guest.log).toContain('carrier 0')
  expect(guest.log).not.toMatch(/virtio_net.*(fail|error)/i)
})

it.skipIf(noPasst)('a Linux guest reaches the host, and is reached, through passt', async () => {
  const body = Buffer.alloc(2 ** 20, 'what the host has to say. ')
  const hostPort = await freePort()
  await using _route = await defaultRoute()
  await using server = await HostServer.start('/nonexistent', { '/': body })
  const script = `
    ip route add default via ${GATEWAY}
    wget -qO- ${server.url}/ | sha256sum
    nc -l -p 80`
  await using guest = await StockGuest.start(`nodekvm.ip=10.0.2.15/24 ${exec(script)}`, {
    nets: [passtNetwork({ forwards: [{ hostAddress: '127.0.0.1', hostPort, guestPort: 80 }] })],
  })
  await guest.said(createHash('sha256').update(body).digest('hex'))
  const typing = setInterval(() => {
    connect(hostPort, '127.0.0.1')
      .on('error', () => {})
      .end('typed on the host\n')
  }, 1000)
  expect(await guest.ended()).toEqual({ kind: 'shutdown' })
  clearInterval(typing)
  expect(guest.log).toContain('typed on the host')
})
