/** A virtio network card on a TAP interface, against QEMU on the same one, both without vhost-net and, where it is, with it. */
import { accessSync, constants } from 'node:fs'
import { print, quick, rounds } from './lib/cli.js'
import { mountPrograms, programs } from './lib/guest-assets.js'
import { type Results, session } from './lib/guest-session.js'
import {
  BenchTap,
  ECHO_PORT,
  HOST_ADDRESS,
  HostServers,
  iperfScript,
  NETWORK_PARAMETERS,
} from './lib/host-network.js'
import {
  type Comparison,
  compareMatches,
  deviceMatches,
  type Monitor,
  nodeKvmPci,
  qemuQ35,
  withVhost,
} from './lib/peers.js'

const SECONDS = quick ? 1 : 2
const PINGS = quick ? 20 : 300
const ROUND_TRIPS = quick ? 20 : 2000
/** Not counted, of any monitor: ours is interpreted at first, until what serves the rings is compiled. */
const WARM_UP = quick ? 20 : 5000
const LIMIT = 120

const streams = [
  { name: 'out-1', title: 'iperf3 guest to host, 1 stream', options: '' },
  { name: 'out-4', title: 'iperf3 guest to host, 4 streams', options: '-P 4' },
  { name: 'in-1', title: 'iperf3 host to guest, 1 stream', options: '-R' },
  { name: 'in-4', title: 'iperf3 host to guest, 4 streams', options: '-R -P 4' },
]
const roundTrips = [
  { name: 'ping', title: 'ping round trip' },
  { name: 'tcp-rr', title: 'TCP round trip of 1 byte' },
]

const script = `${mountPrograms('/dev/vda')}
net-peer ping ${HOST_ADDRESS} ${ECHO_PORT} ${WARM_UP} >/dev/null
ping -c ${PINGS} -i 0.005 ${HOST_ADDRESS} >/tmp/ping
sed -n 's/.*time=\\([0-9.]*\\).*/\\1/p' /tmp/ping | sort -n | awk '{v[NR]=$1} END{print "RESULT ping",v[int((NR+1)/2)]*1000}'
echo RESULT tcp-rr $(net-peer ping ${HOST_ADDRESS} ${ECHO_PORT} ${ROUND_TRIPS})
${streams.map(({ name, options }) => iperfScript(name, `-O 1 -t ${SECONDS} ${options}`)).join('\n')}`

const disks = [{ path: (await programs()).image, readOnly: true }]
using tap = new BenchTap()
const options = { disks, tap: tap.name, parameters: NETWORK_PARAMETERS }
const comparisons: readonly Comparison[] = [
  ...streams.map(({ name, title }) => ({
    name,
    title,
    unit: 'Mbit/s',
    target: { of: 'ratio', bound: 'at least', value: 1 } as const,
  })),
  ...roundTrips.map(({ name, title }) => ({
    name,
    title,
    unit: 'µs',
    target: { of: 'ratio', bound: 'at most', value: 1 } as const,
  })),
]
async function measure(monitor: Monitor): Promise<Results> {
  using _servers = await HostServers.start() // anew, lest one is at a guest that was killed
  return await session(monitor, script, options, LIMIT)
}
const vhost = {
  transport: 'virtio-pci, vhost',
  ours: withVhost(nodeKvmPci),
  peer: withVhost(qemuQ35),
}
print([
  ...(await compareMatches(rounds(2), deviceMatches(), measure, comparisons, ' without vhost')),
  ...(hasVhost()
    ? await compareMatches(rounds(2), [vhost], measure, comparisons, ' with vhost')
    : []),
])

function hasVhost(): boolean {
  try {
    accessSync('/dev/vhost-net', constants.R_OK | constants.W_OK)
    return true
  } catch {
    process.stderr.write('vhost-net is left out: /dev/vhost-net cannot be used\n')
    return false
  }
}
