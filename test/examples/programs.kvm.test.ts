import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const EXAMPLES = fileURLToPath(new URL('../../dist/examples/', import.meta.url))

function start(name: string) {
  return spawn(process.execPath, [`${EXAMPLES}${name}.js`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

it('05-echo-server echoes', async () => {
  const child = start('05-echo-server')
  const exited = once(child, 'exit')
  const [line] = await once(child.stdout.setEncoding('utf8'), 'data')
  const socket = connect(Number(/port (\d+)/.exec(line)![1]), '127.0.0.1')
  const message = 'whatever is typed\n'
  socket.write(message)
  let echoed = ''
  for await (const bytes of socket.setEncoding('utf8')) {
    echoed += bytes
    if (echoed.length >= message.length) break
  }
  expect(echoed).toBe(message)
  socket.end()
  expect(await exited).toEqual([0, null])
})

it('06-mmio-device squares', async () => {
  const child = start('06-mmio-device')
  expect(await text(child.stdout)).toBe('the guest has read 144\n')
})
