import { fileURLToPath } from 'node:url'

/** The package's own folder, with a slash: seen from `lib/` (tests), `dist/lib/` and `dist/bundle/` with its chunks. */
export function packageRoot(): string {
  const here = fileURLToPath(new URL('.', import.meta.url))
  return here.replace(/(?:dist\/)?(?:lib\/util|bundle(?:\/chunks|\/cli)?)\/$/, '')
}
