import { errorForm, errorFromForm } from '../../isolation/error-form.js'
import * as check from '../option-checks.js'
import type { StopReason } from '../stop-reason.js'

const KINDS: ReadonlySet<unknown> = new Set([
  ...['shutdown', 'reset', 'crashed', 'exit', 'panicked', 'watchdog', 'killed', 'error'],
])
const text = check.value<string>(
  'a text',
  (given) => typeof given === 'string' && given.length <= 4096,
)
const checkForm = check.object({
  kind: check.value<string>('a reason', (given) => KINDS.has(given)),
  detail: check.withDefault(text, ''),
  message: check.optional(text),
  code: check.withDefault(check.integer(0, 2 ** 32 - 1), 0),
  error: (given) => given,
})

/** Why a machine has ended, as JSON. */
export function stopReasonForm(reason: StopReason): unknown {
  return reason.kind === 'error' ? { kind: 'error', error: errorForm(reason.error) } : reason
}

/** @throws VmmError for what is none */
export function stopReasonFromForm(form: unknown): StopReason {
  const { kind, detail, message, code, error } = checkForm(form, 'a reason')
  switch (kind) {
    case 'crashed':
      return { kind, detail }
    case 'exit':
      return { kind, code }
    case 'panicked':
      return { kind, message }
    case 'error':
      return { kind, error: errorFromForm(error) }
    default:
      return { kind: kind as 'shutdown' | 'reset' | 'watchdog' | 'killed' }
  }
}
