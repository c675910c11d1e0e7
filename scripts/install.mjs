// npm's install script: sees to it that there is a native addon. Uses the prebuilt one if it fits, else compiles. And has
// V8 compile the CLI, so that it starts sooner; it starts without, too.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import {
  addonIsFresh,
  addonLoads,
  buildAddon,
  isCheckout,
  missingBuildTools,
  packageRoot,
  platformSupported,
} from './lib/build-addon.mjs'

// Elsewhere the package can be imported and says so when it is used: see lib/binding.ts.
const there = () => addonIsFresh() && addonLoads()

if (platformSupported && !there()) {
  const missing = missingBuildTools()
  if (missing.length > 0 && isCheckout) {
    console.log(
      `node-kvm: no addon yet, for want of ${missing.join(', ')}; 'npm start' and 'npm test' will install what is missing`,
    )
  } else {
    try {
      // Forced, as one that does not load is fresh all the same.
      await buildAddon({ quiet: true, force: true })
    } catch (error) {
      console.error(`node-kvm: there is no prebuilt addon for this system, and ${error.message}`)
      process.exitCode = 1
    }
  }
}

// In a clone scripts/bundle.mjs does it.
if (platformSupported && !isCheckout) {
  // Of a second or so; a KVM that hangs is not waited for.
  spawnSync(process.execPath, [join(packageRoot, 'dist/bundle/cli/compile.cjs')], {
    timeout: 60_000,
    killSignal: 'SIGKILL',
  })
}
