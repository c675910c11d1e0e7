// npm run verify:block: that disks keep what they are given.
// Usage: npm run verify:block -- [--operations N] [--engines NAME,...] [--rings NAME,...] [--seed N]
//          random operations, 1,000,000 unless told, on each engine over each format of ring, against a model in memory
//        npm run verify:block -- --fio [--size SIZE] [--engines NAME,...] [--rings NAME,...]
//          fio --verify=crc32c on this machine, as root, on a FUSE file whose reads and writes are requests on a ring
//        npm run verify:block -- --guest [--size SIZE] [--io SIZE] [--engines NAME,...] [--rings NAME,...]
//          fio --verify=crc32c in a Linux guest on a sparse file of 4G unless told, of which it writes `--io` in random
//          places, all unless told; over split and packed rings, in the emulated host where this one runs no guests
// Status 1 if anything was not what had been written.
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { bootstrap, main, step } from './bootstrap.mjs'
import { packageRoot } from './lib/build-addon.mjs'
import { verifyInGuest } from './lib/verify-in-guest.mjs'
import { verifyWithFio } from './lib/verify-with-fio.mjs'
import { verifyWithModel } from './lib/verify-with-model.mjs'

const { values } = parseArgs({
  options: {
    operations: { type: 'string', default: '1000000' },
    engines: { type: 'string' },
    rings: { type: 'string' },
    seed: { type: 'string' },
    fio: { type: 'boolean', default: false },
    guest: { type: 'boolean', default: false },
    size: { type: 'string', default: '4G' },
    io: { type: 'string' },
    // The guest form as it is run on a host that can.
    here: { type: 'boolean', default: false },
  },
})

await main(async () => {
  if (!values.here) await bootstrap()
  const list = (text) => text?.split(',').filter(Boolean)
  const options = { ...values, engines: list(values.engines), rings: list(values.rings) }
  if (values.fio) return verifyWithFio(options)
  if (!values.guest) return verifyWithModel(options)
  return verifyInGuest(options, { script: join(packageRoot, 'scripts/verify-block.mjs'), step })
})
