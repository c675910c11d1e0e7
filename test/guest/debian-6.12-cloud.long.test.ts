import { it } from 'vitest'
import { bootDebian } from './debian.js'
import { noPasst } from './passt-network.js'

it.skipIf(noPasst)(
  "Debian's 6.12 cloud kernel boots Debian to its login prompt, and apt fetches a package from the host",
  () => bootDebian('6.12', 'cloud-amd64'),
)
