import type { WriteStream } from 'node:tty'

/** Whether escape sequences are wanted there: https://no-color.org, and what is no terminal gets none. */
function isColored(stream: NodeJS.WriteStream | WriteStream): boolean {
  return Boolean(stream.isTTY) && !process.env.NO_COLOR && process.env.TERM !== 'dumb'
}

export const bold = (text: string, stream = process.stdout) =>
  isColored(stream) ? `\x1b[1m${text}\x1b[22m` : text

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
}

/** Rows in columns of equal width, below a head. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]!.length)),
  )
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd()
  process.stdout.write(`${[bold(line(head)), ...rows.map(line)].join('\n')}\n`)
}

/** Says on a terminal what is being done, in place of what was said before; elsewhere nothing. */
export function showStatus(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
}

export function clearStatus(): void {
  showStatus('')
}

/** Who reads this has closed its end, as `head` does: there is no more to say. */
export function endWithReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit(128 + 13 /* SIGPIPE */)
  })
}
