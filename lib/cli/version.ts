import { readFileSync } from 'node:fs'

/** This package's version: the file is two folders up in `lib/` and three in `dist/lib/` and `dist/bundle/`. */
export function version(): string {
  for (const up of ['../../../package.json', '../../package.json']) {
    try {
      return (JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8')) as { version: string })
        .version
    } catch {
      // Not there: the other layout.
    }
  }
  return 'unknown'
}
