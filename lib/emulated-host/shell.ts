import { invalidOption } from '../errors.js'

/** One word of a POSIX shell's command line that stands for exactly this text. */
export function shellQuote(text: string): string {
  if (text.includes('\0')) throw invalidOption('argument', text, 'text without NUL')
  return `'${text.replaceAll("'", "'\\''")}'`
}

/** A script that runs one command with this environment and no other, in this folder. */
export function commandScript(
  command: readonly string[],
  cwd: string,
  environment: Readonly<Record<string, string | undefined>>,
): string {
  const variables = Object.entries(environment).flatMap(([name, value]) =>
    value === undefined || name === '' ? [] : [shellQuote(`${name}=${value}`)],
  )
  return `cd ${shellQuote(cwd)} || exit 126\nexec /usr/bin/env -i ${[...variables, ...command.map(shellQuote)].join(' ')}\n`
}
