// The code blocks of a page in Markdown, each with the comment before it that says how it is tested.

/**
 * @param {string} file for messages
 * @param {string} text
 * @returns {{ file: string, line: number, language: string, code: string, note: string | undefined }[]}
 */
export function codeBlocks(file, text) {
  const blocks = []
  let note
  let open
  for (const [index, line] of text.split('\n').entries()) {
    const fence = /^ {0,3}```(\w*)\s*$/.exec(line)
    if (open) {
      if (fence?.[1] === '') {
        blocks.push(open)
        open = undefined
        note = undefined
      } else open.code += `${line}\n`
    } else if (fence) {
      open = { file, line: index + 1, language: fence[1], code: '', note }
    } else {
      const comment = /^<!-- test: (.*) -->$/.exec(line)
      if (comment) note = comment[1]
      else if (line.trim() !== '') note = undefined
    }
  }
  return blocks
}
