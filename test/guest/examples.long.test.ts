import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it } from 'vitest'
import { ext4Image } from '../../lib/testing.js'
import { runExample } from '../helpers/examples.js'

it('02-boot-linux: the guest checks its disk', async () => {
  const printed = await runExample('02-boot-linux')
  expect(printed).toContain('node-kvm: check disk ok')
  expect(printed).toContain('the guest powered off')
})

it('04-http-disk: Linux mounts a disk that lies on a server', async () => {
  const image = readFileSync(await ext4Image())
  let parts = 0
  const server = createServer(({ method, headers }, response) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? []
    if (method === 'HEAD') response.writeHead(200, { 'content-length': image.length }).end()
    else {
      parts++
      response.writeHead(206).end(image.subarray(Number(first), Number(last) + 1))
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    const { port } = server.address() as AddressInfo
    const printed = await runExample('04-http-disk', `http://127.0.0.1:${port}/disk.ext4`)
    expect(printed).toContain('node-kvm: check disk ok')
    expect(parts).toBeGreaterThan(1)
  } finally {
    server.close()
    server.closeAllConnections()
  }
})

it('08-sandbox: a script has the memory of its machine, and no more', async () => {
  const printed = await runExample('08-sandbox', 'dd if=/dev/zero of=/dev/null bs=500M count=1')
  expect(printed).toMatch(/memory|SIGKILL/)
})

it('10-live-exits: a table of exits', async () => {
  const printed = await runExample('10-live-exits')
  expect(printed).toContain('state: stopped')
  expect(printed).toMatch(/KVM_EXIT_IO.*\d/)
})
