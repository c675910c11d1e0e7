import * as check from '../option-checks.js'
import type { VmWarning } from '../vm-warning.js'

const text = check.value<string>(
  'a text',
  (given) => typeof given === 'string' && given.length <= 4096,
)
const kind = check.value<string>('a kind', (given) => typeof given === 'string')
const needsReset = check.object({ kind, device: text, reason: text })
const linkLost = check.object({ kind, device: text, backend: text })
const panicked = check.object({ kind, crashLoaded: check.boolean })

/** @throws VmmError for what is no warning */
export function checkWarning(given: unknown): VmWarning {
  const name = 'a warning'
  switch ((given as { kind?: unknown } | undefined)?.kind) {
    case 'device-needs-reset':
      return { ...needsReset(given, name), kind: 'device-needs-reset' }
    case 'link-lost':
      return { ...linkLost(given, name), kind: 'link-lost' }
    default:
      return { ...panicked(given, name), kind: 'guest-panicked' }
  }
}
