import type { KtapStatus } from './ktap.js'

/** What a line of KTAP can be. Lines that are none of it are the text between them. */
export type KtapLine =
  | { readonly kind: 'version' }
  | { readonly kind: 'plan'; readonly count: number; readonly skipped: boolean }
  | { readonly kind: 'subtest'; readonly name: string }
  | {
      readonly kind: 'result'
      readonly number: number | undefined
      readonly name: string
      readonly status: KtapStatus
      readonly reason: string
    }
  | { readonly kind: 'text'; readonly text: string }

/** Directives, with what they make of a result. */
const DIRECTIVES: Readonly<Record<string, KtapStatus>> = {
  SKIP: 'skipped',
  TODO: 'expected-failure',
  XFAIL: 'expected-failure',
  TIMEOUT: 'failed',
  ERROR: 'failed',
}

/** Reads a line without its indentation. Takes time in proportion to its length, whatever it holds. */
export function parseKtapLine(line: string): KtapLine {
  if (/^K?TAP version \d{1,9}\b/.test(line)) return { kind: 'version' }
  const plan = /^1\.\.(\d{1,9})(?: *# *(SKIP)\b.*)?$/i.exec(line.trimEnd())
  if (plan) return { kind: 'plan', count: Number(plan[1]), skipped: plan[2] !== undefined }
  if (line.startsWith('# Subtest: ')) return { kind: 'subtest', name: line.slice(11).trim() }
  const result = /^(not )?ok(?: (\d{1,9}))?(?= |$)/.exec(line)
  if (!result) return { kind: 'text', text: line }
  const [all, not, number] = result
  const { name, directive, reason } = splitDirective(line.slice(all.length).trim())
  const outcome = not === undefined ? 'passed' : 'failed'
  return {
    kind: 'result',
    number: number === undefined ? undefined : Number(number),
    name: name.replace(/^- ?/, '').trim(),
    status: directive === undefined ? outcome : DIRECTIVES[directive]!,
    reason,
  }
}

/** A `#` starts a directive where one of their names follows; any other is part of the description. */
function splitDirective(text: string): { name: string; directive?: string; reason: string } {
  for (let at = text.indexOf('#'); at >= 0; at = text.indexOf('#', at + 1)) {
    const [, directive] = /^# ?([A-Z]{1,8})\b/i.exec(text.slice(at, at + 11)) ?? []
    const name = directive?.toUpperCase()
    if (name === undefined || !Object.hasOwn(DIRECTIVES, name)) continue
    const reason = text.slice(text.indexOf(directive!, at) + name.length).trim()
    return { name: text.slice(0, at), directive: name, reason }
  }
  return { name: text, reason: '' }
}
