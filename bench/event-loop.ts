/** How late the event loop of the process comes to its own work while a guest's disk and network card are saturated. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { FileDisk, Tap } from '../lib/index.js'
import { print, quick, rounds } from './lib/cli.js'
import { figure, interleaveNamed } from './lib/figure.js'
import { FIO_SETTINGS, fioScript } from './lib/fio.js'
import { execParameter, mountPrograms, networkGuest, programs } from './lib/guest-assets.js'
import { GuestHere } from './lib/guest-here.js'
import { readResults } from './lib/guest-session.js'
import {
  BenchTap,
  HOST_ADDRESS,
  HostServers,
  IPERF_PORT,
  NETWORK_PARAMETERS,
} from './lib/host-network.js'
import { ScratchFolder } from './lib/scratch.js'

const SECONDS = quick ? 1 : 8
const job = { name: 'load', rw: 'randread', blockSize: '4k', depth: 32 } as const
const script = `${mountPrograms('/dev/vdb')}
/programs/bin/fio --version; /programs/bin/iperf3 --version | head -n 1
echo BEGIN
/programs/bin/iperf3 -c ${HOST_ADDRESS} -p ${IPERF_PORT} -t ${SECONDS + 3} -f m --bidir -P 2 >/tmp/iperf 2>&1 &
${FIO_SETTINGS}
${fioScript('/dev/vda', [job], SECONDS)}
echo END
wait; tail -n 3 /tmp/iperf
awk '/SUM.*receiver/{v+=$(NF-2)} END{print "RESULT iperf",v+0}' /tmp/iperf
echo FINISH`

using folder = new ScratchFolder()
const image = folder.file('disk.img', 64)
const tools = (await programs()).image
using tap = new BenchTap()

async function measure(): Promise<ReadonlyMap<string, number>> {
  using _servers = await HostServers.start()
  const spec = await networkGuest(`${NETWORK_PARAMETERS} ${execParameter(script)}`)
  await using guest = await GuestHere.create(spec, {
    disks: [new FileDisk(image), new FileDisk(tools, { readOnly: true })],
    nets: [new Tap(tap.name)],
  })
  await guest.vm.start()
  await guest.said('BEGIN')
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  await guest.said('END')
  delay.disable()
  await guest.said('FINISH')
  const load = readResults(guest.output)
  const [operations = 0, megabits = 0] = [load.get(job.name), load.get('iperf')]
  if (operations === 0 || megabits === 0)
    throw new Error(`there was no load:\n${guest.output.slice(-2000)}`)
  const milliseconds = (nanoseconds: number) => nanoseconds / 1e6
  return new Map([
    ['p50', milliseconds(delay.percentile(50))],
    ['p99', milliseconds(delay.percentile(99))],
    ['max', milliseconds(delay.max)],
    ['operations', operations],
    ['megabits', megabits],
  ])
}

const [ours] = await interleaveNamed(rounds(3), [measure])
const name = 'event-loop delay with disk and NIC saturated'
print([
  figure(`${name}, p50`, 'ms', undefined, ours!('p50')),
  figure(`${name}, p99`, 'ms', { of: 'ours', bound: 'at most', value: 20 }, ours!('p99')),
  figure(`${name}, longest`, 'ms', undefined, ours!('max')),
  figure('4 KiB random read, QD 32, meanwhile', 'operations/s', undefined, ours!('operations')),
  figure('iperf3 both ways together, meanwhile', 'Mbit/s', undefined, ours!('megabits')),
])
