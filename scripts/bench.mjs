// npm run bench: prepares the checkout, then bench/main.ts.
import { bootstrap, main } from './bootstrap.mjs'

await main(async () => {
  await bootstrap({ programs: ['qemu-system-x86_64', 'mkfs.ext4'] })
  await import('../dist/bench/main.js')
  return process.exitCode
})
