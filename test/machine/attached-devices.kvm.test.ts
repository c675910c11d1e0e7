import { describe, expect, it } from 'vitest'
import { tinyMachines } from './machines.js'
import * as guest from './tiny-guest.js'

const create = tinyMachines({ devices: { debugExit: true } })

const nothing = { name: 'nothing', read: () => 0, write: () => {} }

describe("a device of a program's own", () => {
  it('is written to, at a port', async () => {
    const written: number[] = []
    const write = (_offset: number, _width: number, value: number) => void written.push(value)
    const device = { ...nothing, write }
    const vm = await create([guest.outb(0x2f0, 7), guest.powerOff], {
      attach: [{ device, port: 0x2f0, size: 8 }],
    })
    await vm.start()
    await vm.stopped
    expect(written).toEqual([7])
    expect(vm.stats().ports.find(({ device }) => device === 'nothing')?.count).toBe(1)
  })

  it('is made with the memory and the interrupt lines of its machine', async () => {
    const lines: number[] = []
    const vm = await create(
      [guest.store(0xd800_0004, 0x50_0000), guest.say(0x50_0000), guest.powerOff],
      {
        attach: [
          {
            mmio: 0xd800_0000,
            size: 0x1000,
            device: ({ memory, irqLine }) => {
              lines.push(irqLine(6).gsi)
              const write = (_offset: number, _width: number, address: number) =>
                memory.write(address, Buffer.from('!'))
              return { ...nothing, write }
            },
          },
        ],
      },
    )
    let said = ''
    vm.console.output.on('data', (bytes) => {
      said += bytes
    })
    await vm.start()
    await vm.stopped
    await expect.poll(() => said).toBe('!')
    expect(lines).toEqual([6])
  })

  it.each<[option: string, attach: unknown]>([
    ['attach', {}],
    ['attach[0]', [null]],
    ['attach[0]', [{ device: nothing, size: 1 }]],
    ['attach[0]', [{ device: nothing, size: 1, port: 1, mmio: 1 }]],
    ['attach[0].device', [{ device: {}, size: 1, port: 0x2f0 }]],
    ['attach[0].device', [{ device: () => undefined, size: 1, port: 0x2f0 }]],
    ['attach[0].size', [{ device: nothing, size: 0, port: 0x2f0 }]],
    ['attach[0].size', [{ device: nothing, size: 2, port: 0xffff }]],
    ['attach[0].port', [{ device: nothing, size: 1, port: 65536 }]],
    ['attach[0].mmio', [{ device: nothing, size: 4096, mmio: 0x100_0000 }]],
    ['attach[0].irq', [{ device: nothing, size: 1, port: 1, irq: 5 }]],
    [
      'attach[0].gsi',
      [{ device: ({ irqLine }: never) => (irqLine as (n: number) => void)(24), size: 1, port: 1 }],
    ],
  ])('is refused: %s of %o', async (option, attach) => {
    await expect(create([guest.spin], { attach: attach as never })).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      option,
    })
  })

  it('is refused where another is', async () => {
    const attach = [{ device: nothing, size: 1, port: 0x3f8 }]
    await expect(create([guest.spin], { attach })).rejects.toMatchObject({
      code: 'ERR_BUS_CONFLICT',
      option: 'attach[0]',
    })
  })
})
