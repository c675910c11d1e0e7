/** Longer lines are cut: no format that is read here has any. */
export const LINE_MAX = 8192

/** Makes lines of what comes in pieces. A line ends by LF, CR LF or several CR and LF; of a long one the start is kept. */
export class LineSplitter {
  #rest = ''

  /** The lines that `text` completes, without their ends. */
  push(text: string): string[] {
    const parts = text.split('\n')
    const rest = parts.pop()!
    if (parts.length > 0) {
      parts[0] = this.#rest + parts[0]!
      this.#rest = ''
    }
    this.#rest = (this.#rest + rest).slice(0, LINE_MAX)
    return parts.map(clean)
  }

  /** What came after the last line end. */
  end(): string[] {
    const rest = this.#rest
    this.#rest = ''
    return rest === '' ? [] : [clean(rest)]
  }
}

export function splitLines(text: string): string[] {
  const splitter = new LineSplitter()
  return [...splitter.push(text), ...splitter.end()]
}

function clean(line: string): string {
  let end = Math.min(line.length, LINE_MAX)
  while (end > 0 && line.charCodeAt(end - 1) === 0x0d) end--
  return line.slice(0, end)
}
