/** Console output: how fast a guest writes 200,000 bytes to its serial console. */
import { print, rounds } from './lib/cli.js'
import { figure, interleave } from './lib/figure.js'
import { benchmarkGuest, execParameter } from './lib/guest-assets.js'
import { GuestProcess } from './lib/guest-process.js'
import { type Monitor, nodeKvm, qemuMicrovm, qemuQ35 } from './lib/peers.js'

const BYTES = 200_000
const script = `yes 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde | head -c ${BYTES} >/tmp/text
sleep 1; echo BEGIN; cat /tmp/text; echo FINISH; sleep 1`

/** KB/s from the first byte's coming to the last's. */
async function rate(monitor: Monitor): Promise<number> {
  await using process = new GuestProcess(monitor.command(guest))
  const begin = await process.waitFor('BEGIN')
  return BYTES / ((await process.waitFor('FINISH')) - begin)
}

const guest = await benchmarkGuest(execParameter(script))
const [ours, microvm, q35] = await interleave(rounds(5), [
  () => rate(nodeKvm),
  () => rate(qemuMicrovm),
  () => rate(qemuQ35),
])
const target = { of: 'ratio', bound: 'at least', value: 1.5 } as const
print([
  figure('console output', 'KB/s', target, ours!, { name: qemuMicrovm.name, samples: microvm! }),
  figure('console output', 'KB/s', target, ours!, { name: qemuQ35.name, samples: q35! }),
])
