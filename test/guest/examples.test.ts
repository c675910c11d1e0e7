import { expect, it } from 'vitest'
import { runExample } from '../helpers/examples.js'

// What takes no stock kernel is in test/examples; the rest is in examples.long.test.ts.

it('07-two-machines: one guest pings the other', async () => {
  const printed = await runExample('07-two-machines')
  expect(printed).toContain('3 packets received')
  expect(printed).toContain('ping ended with 0')
})

it('08-sandbox: a script is ended after its time, and another tells what it did', async () => {
  expect(await runExample('08-sandbox')).toContain('it was ended: ')
})

it('11-minimal-vmm: Linux boots on a monitor of fifty lines', async () => {
  const printed = await runExample('11-minimal-vmm')
  expect(printed).toContain('Linux version 6.1')
  expect(printed).toContain('node-kvm: init')
  expect(printed).toContain('the guest rebooted')
})
