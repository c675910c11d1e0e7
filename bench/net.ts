/** A virtio network card on a TAP interface, against QEMU without vhost on the same one. */
import { print, quick, rounds } from './lib/cli.js'
import { figure, type Target } from './lib/figure.js'
import { mountPrograms, programs } from './lib/guest-assets.js'
import { session } from './lib/guest-session.js'
import {
  BenchTap,
  ECHO_PORT,
  HOST_ADDRESS,
  HostServers,
  iperfScript,
  NETWORK_PARAMETERS,
} from './lib/host-network.js'
import { deviceMatches, interleaveMatches } from './lib/peers.js'

const SECONDS = quick ? 1 : 2
const PINGS = quick ? 20 : 300
const ROUND_TRIPS = quick ? 20 : 2000
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
ping -c ${PINGS} -i 0.005 ${HOST_ADDRESS} >/tmp/ping
sed -n 's/.*time=\\([0-9.]*\\).*/\\1/p' /tmp/ping | sort -n | awk '{v[NR]=$1} END{print "RESULT ping",v[int((NR+1)/2)]*1000}'
echo RESULT tcp-rr $(net-peer ping ${HOST_ADDRESS} ${ECHO_PORT} ${ROUND_TRIPS})
${streams.map(({ name, options }) => iperfScript(name, `-O 1 -t ${SECONDS} ${options}`)).join('\n')}`

const disks = [{ path: (await programs()).image, readOnly: true }]
using tap = new BenchTap()
using _servers = await HostServers.start()
const options = { disks, tap: tap.name, parameters: NETWORK_PARAMETERS }
const matches = deviceMatches()
const samples = await interleaveMatches(rounds(2), matches, (monitor) =>
  session(monitor, script, options, LIMIT),
)

print(
  matches.flatMap(({ transport, ours, peer }) => {
    const compare = (title: string, unit: string, target: Target, name: string) =>
      figure(`${title}, ${transport}`, unit, target, samples(ours, name), {
        name: `${peer.name} without vhost`,
        samples: samples(peer, name),
      })
    return [
      ...streams.map(({ name, title }) =>
        compare(title, 'Mbit/s', { of: 'ratio', bound: 'at least', value: 1 }, name),
      ),
      ...roundTrips.map(({ name, title }) =>
        compare(title, 'µs', { of: 'ratio', bound: 'at most', value: 1 }, name),
      ),
    ]
  }),
)
