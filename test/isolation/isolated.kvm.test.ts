import { expect, it } from 'vitest'
import { tinyMachines } from '../machine/machines.js'
import * as guest from '../machine/tiny-guest.js'

const create = tinyMachines({ isolation: 'process' })

it('says what it has to say, and powers off', async () => {
  const vm = await create([guest.print('hello\n'), guest.powerOff])
  let said = ''
  vm.console.output.setEncoding('latin1').on('data', (text: string) => {
    said += text
  })
  await vm.start()
  expect(await vm.stopped).toEqual({ kind: 'shutdown' })
  expect(said).toBe('hello\n')
  expect(vm.stats().vcpus[0]!.exits).toBeGreaterThan(0)
})
