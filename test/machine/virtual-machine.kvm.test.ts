import { describe, expect, it } from 'vitest'
import { VirtualMachine } from '../../lib/index.js'
import { tinyMachines } from './machines.js'
import * as guest from './tiny-guest.js'

const create = tinyMachines()

async function output(vm: VirtualMachine): Promise<string> {
  let text = ''
  for await (const chunk of vm.console.output) text += (chunk as Buffer).toString('latin1')
  return text
}

describe('how a guest ends', () => {
  it.each([
    ['powers off by ACPI', guest.powerOff, 'shutdown'],
    ['resets by the chipset', guest.resetByChipset, 'reset'],
    ['resets by the keyboard controller', guest.resetByKeyboardController, 'reset'],
    ['faults three times', guest.tripleFault, 'crashed'],
  ])('a guest that %s', async (_, code, kind) => {
    const vm = await create([code])
    const events: string[] = []
    vm.on('state', (state) => events.push(state))
    vm.on('stopped', (reason) => events.push(reason.kind))
    await vm.start()
    expect(await vm.stopped).toMatchObject({ kind })
    await Promise.resolve()
    expect(vm.state).toBe('stopped')
    expect(events).toEqual(['running', 'stopped', kind])
    await vm.close()
    expect(events).toEqual(['running', 'stopped', kind, 'closed'])
  })

  it.each(['stop', 'close'] as const)('a guest that spins, by %s()', async (method) => {
    const vm = await create([guest.spin])
    await vm.start()
    await vm[method]()
    expect(await vm.stopped).toEqual({ kind: 'killed' })
  })

  it.each(['stop', 'close'] as const)('before it has begun, by %s()', async (method) => {
    const vm = await create([guest.spin])
    await vm[method]()
    expect(await vm.stopped).toEqual({ kind: 'killed' })
  })

  it('stop() after the end does nothing', async () => {
    const vm = await create([guest.powerOff])
    await vm.start()
    await vm.stopped
    await vm.stop()
    expect(vm.state).toBe('stopped')
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
  })
})

describe('the console', () => {
  it('gives all that the guest has said before its end', async () => {
    const text = 'All work and no play makes Jack a dull boy.\r\n'.repeat(40)
    const vm = await create([guest.print(text), guest.powerOff])
    await vm.start()
    expect(await output(vm)).toBe(text)
    expect(vm.console.output.lost).toBe(0)
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
  })

  it('loses nothing of a burst of 1 MB to a reader that reads', async () => {
    const length = 2 ** 20
    // mov $length, %ecx; mov $0x3f8, %edx; 1: mov %ecx, %eax; add %ah, %al; out %al, %dx; dec %ecx; jnz 1b
    const burst = [
      ...[0xb9, 0, 0, length >> 16, 0, 0xba, 0xf8, 0x03, 0, 0],
      ...[0x89, 0xc8, 0x00, 0xe0, 0xee, 0xff, 0xc9, 0x75, 0xf7],
    ]
    await using vm = await VirtualMachine.create({
      kernel: guest.kernel(burst, guest.powerOff),
      memory: '32M',
      console: { bufferSize: '64K' },
    })
    await vm.start()
    const chunks: Buffer[] = []
    for await (const chunk of vm.console.output) chunks.push(chunk)
    const expected = Buffer.from(
      Uint8Array.from({ length }, (_, i) => length - i + ((length - i) >> 8)),
    )
    expect(vm.console.output.lost).toBe(0)
    expect(Buffer.concat(chunks).equals(expected)).toBe(true)
  })

  it('gives the guest what is written', async () => {
    const vm = await create([guest.echoLine])
    vm.console.input.write('over and out\n')
    await vm.start()
    expect(await output(vm)).toBe('over and out\n')
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
  })

  it('ends its output when the machine is stopped or closed', async () => {
    const vm = await create([guest.print('so far'), guest.spin])
    const text = output(vm)
    await vm.start()
    await new Promise((resolve) => vm.console.output.once('readable', resolve))
    await vm.close()
    expect('so far'.startsWith(await text)).toBe(true)
  })
})

describe('two machines at once', () => {
  it('keep out of each other', async () => {
    const [one, two] = await Promise.all([
      create([guest.print('one'), guest.echoLine]),
      create([guest.print('two'), guest.echoLine]),
    ])
    const texts = Promise.all([output(one!), output(two!)])
    await Promise.all([one!.start(), two!.start()])
    two!.console.input.write('2\n')
    expect(await two!.stopped).toEqual({ kind: 'shutdown' })
    expect(one!.state).toBe('running')
    one!.console.input.write('1\n')
    expect(await texts).toEqual(['one1\n', 'two2\n'])
  })
})
