// npm run build:addon: compiles what has changed in native/.
import { buildAddon } from './lib/build-addon.mjs'

try {
  const built = await buildAddon({ force: process.argv.includes('--force') })
  if (!built) console.log('build/Release is up to date')
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}
