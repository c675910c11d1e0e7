/** Exits handled per second, by how they are served, with several vCPUs, against a thread for each in C. */
import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { Bus } from '../lib/bus/bus.js'
import type { Shortcuts } from '../lib/bus/bus-device.js'
import { RunLoop } from '../lib/machine/run-loop.js'
import { withVcpus } from './lib/bare-vcpus.js'
import { print, rounds } from './lib/cli.js'
import { figure, interleave } from './lib/figure.js'
import { nativeProgram } from './lib/native-program.js'

const MILLISECONDS = 500
const VCPUS = [1, 2, 4]
const PORT = 0x10
/** in al, PORT; jmp to it */
const code = [0xe4, PORT, 0xeb, 0xfc]
const latched: Shortcuts = { latched: [0], latch: (_offset, latch) => latch.set(0) }

const program = await nativeProgram('exit-rate', ['-pthread'])
const inC = (vcpus: number) => async () =>
  Number(execFileSync(program, [Buffer.from(code).toString('hex'), `${vcpus}`, `${MILLISECONDS}`]))

const ours = (vcpus: number, shortcuts: Shortcuts) => () =>
  withVcpus(code, vcpus, async (fds) => {
    const pio = new Bus('pio')
    pio.attach(PORT, 1, { name: 'bench', shortcuts, read: () => 0, write() {} })
    const onEnd = ({ detail }: { detail?: string }) => {
      throw new Error(detail)
    }
    using loop = new RunLoop({ pio, mmio: new Bus('mmio'), onEnd })
    for (const vcpu of fds) loop.addVcpu(vcpu)
    const start = performance.now()
    loop.run()
    await sleep(MILLISECONDS)
    await loop.pause()
    const seconds = (performance.now() - start) / 1000
    return loop.counters().reduce((sum, { exits }) => sum + exits, 0) / seconds
  })

const cases = VCPUS.flatMap((vcpus) => [
  { name: `exits answered by JavaScript, ${vcpus} vCPU`, vcpus, shortcuts: {} },
  { name: `exits answered by a latch, ${vcpus} vCPU`, vcpus, shortcuts: latched },
])
const samples = await interleave(
  rounds(5),
  cases.flatMap(({ vcpus, shortcuts }) => [ours(vcpus, shortcuts), inC(vcpus)]),
)
print(
  cases.map(({ name }, i) =>
    figure(name, 'exits/s', undefined, samples[2 * i]!, {
      name: 'KVM_RUN in C, a thread for each vCPU',
      samples: samples[2 * i + 1]!,
    }),
  ),
)
