/** A stream through vsock against one through the virtio network card, each between a guest's program and this process. */
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import type { Duplex } from 'node:stream'
import { Tap } from '../lib/index.js'
import { print, quick, rounds } from './lib/cli.js'
import { figure, interleaveNamed } from './lib/figure.js'
import { execParameter, networkGuest } from './lib/guest-assets.js'
import { GuestHere } from './lib/guest-here.js'
import { BenchTap, HOST_ADDRESS, NETWORK_PARAMETERS } from './lib/host-network.js'

const BYTES = (quick ? 4 : 128) * 2 ** 20
const PORT = 5000
/** The host's context ID. */
const HOST_CID = 2

const CHUNK = Buffer.alloc(65536)

/** Takes what comes, or sends `BYTES`; says how long that took, in seconds. */
function serve(stream: Duplex, direction: 'send' | 'receive', done: (seconds: number) => void) {
  const start = performance.now()
  const finish = () => {
    done((performance.now() - start) / 1000)
    stream.end()
  }
  stream.on('error', () => {})
  if (direction === 'send') {
    let left = BYTES
    stream.on('data', (data: Buffer) => {
      left -= data.length
      if (left === 0) finish()
    })
    return
  }
  stream.resume()
  let left = BYTES
  const more = () => {
    while (left > 0) {
      left -= CHUNK.length
      if (!stream.write(CHUNK)) {
        stream.once('drain', more)
        return
      }
    }
    stream.once('close', () => done((performance.now() - start) / 1000)).end()
  }
  more()
}

using tap = new BenchTap()
const streams = ['send', 'receive'] as const

async function measure(): Promise<ReadonlyMap<string, number>> {
  let direction: (typeof streams)[number] = 'send'
  let take: (seconds: number) => void = () => {}
  const handle = (stream: Duplex) => serve(stream, direction, (seconds) => take(seconds))
  const server = createServer(handle).listen(0, HOST_ADDRESS)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const places = { vsock: `${HOST_CID} ${PORT}`, tcp: `${HOST_ADDRESS} ${port}` }
  const cases = streams.flatMap((way) =>
    (['vsock', 'tcp'] as const).map((kind) => ({
      name: `${kind}-${way}`,
      way,
      place: places[kind],
    })),
  )
  const script = cases
    .map(
      ({ name, way, place }) => `echo BEGIN ${name}; sleep 0.2; net-peer ${way} ${place} ${BYTES}`,
    )
    .join('\n')
  const spec = await networkGuest(`${NETWORK_PARAMETERS} ${execParameter(script)}`)
  await using guest = await GuestHere.create(spec, {
    nets: [new Tap(tap.name)],
    vsock: {},
  })
  guest.vm.vsock!.listen(PORT, handle)
  const results = new Map<string, number>()
  try {
    await guest.vm.start()
    for (const { name, way } of cases) {
      direction = way
      const taken = new Promise<number>((resolve) => {
        take = resolve
      })
      await guest.said(`BEGIN ${name}`)
      results.set(name, BYTES / 1e6 / (await guest.within(taken, name)))
    }
    return results
  } finally {
    server.close()
  }
}

const [ours] = await interleaveNamed(rounds(3), [measure])
print(
  [
    { way: 'send', title: 'vsock stream, guest to host' },
    { way: 'receive', title: 'vsock stream, host to guest' },
  ].map(({ way, title }) =>
    figure(title, 'MB/s', { of: 'ratio', bound: 'at least', value: 1 }, ours!(`vsock-${way}`), {
      name: 'TCP through virtio-net',
      samples: ours!(`tcp-${way}`),
    }),
  ),
)
