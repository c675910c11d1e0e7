import { Command } from 'commander'
import { expect, it } from 'vitest'
import { completionScript } from '../../lib/cli/completion.js'
import { machineOptions, type RunOptions } from '../../lib/cli/machine-options.js'
import { runCommand } from '../../lib/cli/run.js'

/** What `node-kvm run` would give a machine. */
async function machineOf(...args: string[]) {
  let machine: Awaited<ReturnType<typeof machineOptions>> | undefined
  const command = runCommand()
    .exitOverride()
    .action(async (_argv: string[], options: RunOptions, self: Command) => {
      machine = await machineOptions(options, self)
    })
  await command.parseAsync(['--kernel', 'k', ...args], { from: 'user' })
  return machine!
}

it('has an option for what a PC is', async () => {
  const given = [
    ...['--irqchip', 'split', '--cpu-affinity', '0:1', '--cpu-nice', '5', '--cpus', '2'],
    ...['--numa', '192M,cpus=0', '--numa', '64M,cpus=1', '--virtio-mem', '1G,node=1'],
    ...['--watchdog', 'i6300esb,expire=reset', '--test-device', '--vm-generation-id'],
    ...['--packed-queues', '--in-order-queues'],
  ]
  expect(await machineOf(...given)).toMatchObject({
    irqchip: 'split',
    cpuAffinity: [[0], [1]],
    cpuNice: 5,
    numa: [
      { memory: '192M', cpus: [0] },
      { memory: '64M', cpus: [1] },
    ],
    virtioMem: { maxSize: '1G', node: 1 },
    devices: {
      watchdog: { model: 'i6300esb', onExpire: 'reset' },
      testDevice: true,
      vmGenerationId: true,
    },
    packedQueues: true,
    inOrderQueues: true,
  })
})

it('leaves to the machine what was not given', async () => {
  const machine = await machineOf()
  for (const name of [
    'irqchip',
    'cpuAffinity',
    'cpuNice',
    'numa',
    'virtioMem',
    'packedQueues',
  ] as const) {
    expect(machine).not.toHaveProperty(name)
  }
  expect(machine).toMatchObject({ memory: '256M', devices: {} })
})

it('takes the memory of the nodes unless --memory is given', async () => {
  expect(await machineOf('--numa', '1G,cpus=0')).not.toHaveProperty('memory')
  expect(await machineOf('--numa', '1G,cpus=0', '--memory', '1G')).toHaveProperty('memory', '1G')
})

it('is completed, with the choices that there are', () => {
  const program = new Command('node-kvm').addCommand(runCommand())
  const script = completionScript('bash', program)
  expect(script).toMatch(/^ +run\) words=".* --irqchip .*--virtio-mem /m)
  expect(script).toContain('--irqchip) words="kernel split"')
})
