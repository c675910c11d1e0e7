// npm run build:agent: the guest agent that the package ships. Everywhere else lib/assets compiles it when it is used.
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { PREBUILT_AGENT } from '../dist/lib/assets/guest-agent.js'
import { guestAgentAsset } from '../dist/lib/testing.js'
import { packageRoot } from './lib/build-addon.mjs'

const target = join(packageRoot, PREBUILT_AGENT)
mkdirSync(dirname(target), { recursive: true })
writeFileSync(target, await guestAgentAsset())
chmodSync(target, 0o755)
console.log(PREBUILT_AGENT)
