import { createHash } from 'node:crypto'
import { expect, it } from 'vitest'
import { exec, StockGuest } from './stock-guest.js'

it('a burst reaches a reader in full', async () => {
  const lines = 12_000
  await using guest = await StockGuest.start(
    exec(`seq 1 ${lines} >/tmp/lines; echo begin; cat /tmp/lines; echo end; sha256sum </tmp/lines`),
    { series: '6.1' },
  )
  expect(await guest.ended()).toEqual({ kind: 'shutdown' })
  const text = guest.log.replaceAll('\r\n', '\n')
  const burst = text.slice(text.indexOf('begin\n') + 6, text.indexOf('end\n'))
  expect(burst.length).toBeGreaterThan(2 ** 16 * 0.9)
  expect(text).toContain(createHash('sha256').update(burst).digest('hex'))
  expect(guest.vm.console.output.lost).toBe(0)
})

it('what is typed reaches a shell', async () => {
  // In this mode init does not keep the kernel quiet, whose lines may come in the middle of the shell's.
  const commandLine = 'quiet nodekvm.mode=shell nodekvm.rows=33 nodekvm.cols=99'
  await using guest = await StockGuest.start(commandLine)
  const { input } = guest.vm.console
  await guest.said('root@guest')
  input.write('echo $((6*7))\n')
  await guest.said('\n42\r\n')
  input.write('stty size\n')
  await guest.said('\n33 99\r\n')
  input.write('exit\n')
  expect(await guest.ended()).toEqual({ kind: 'shutdown' })
})

it('two guests live side by side, one of them paused again and again while busy', async () => {
  const script = (name: string) =>
    exec(`echo ${name} begins; while :; do :; done & read line; kill $!; echo "${name}: $line"`)
  await using one = await StockGuest.start(script('one'))
  await using two = await StockGuest.start(script('two'))
  await Promise.all([one.said('one begins'), two.said('two begins')])
  for (let i = 0; i < 50; i++) {
    await one.vm.pause()
    await new Promise(setImmediate)
    await one.vm.resume()
  }
  one.vm.console.input.write('first\n')
  two.vm.console.input.write('second\n')
  expect(await one.ended()).toEqual({ kind: 'shutdown' })
  expect(await two.ended()).toEqual({ kind: 'shutdown' })
  expect(one.log).toContain('one: first')
  expect(two.log).toContain('two: second')
  expect(one.log).not.toContain('two begins')
  expect(one.log + two.log).not.toMatch(/soft lockup|rcu: INFO|BUG:/)
})
