import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
// @ts-expect-error: plain JavaScript, as the scripts are
import { codeBlocks } from '../../scripts/lib/code-blocks.mjs'
import { root } from '../helpers/imports.js'

interface Block {
  readonly language: string
  readonly line: number
  readonly code: string
  readonly note: string | undefined
}

const pages = [
  'README.md',
  ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`),
].filter((name) => name.endsWith('.md'))
const read = (page: string) => readFileSync(join(root, page), 'utf8')

describe.each(pages)('%s', (page) => {
  it('says of each command and program how it is tested', () => {
    const silent = (codeBlocks(page, read(page)) as Block[])
      .filter(({ language }) => ['sh', 'js', 'ts', 'json'].includes(language))
      .filter(({ note }) => !/^(run|types|file|status|skip) ?/.test(note ?? ''))
    expect(silent).toEqual([])
  })

  it('links to what is there', () => {
    const links = [...read(page).matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)]
    const broken = links
      .map(([, path]) => path!)
      // Pictures of figures are drawn when they are measured.
      .filter((path) => !path.endsWith('.svg'))
      .filter((path) => !existsSync(join(root, dirname(page), path)))
    expect(broken).toEqual([])
  })
})

it('a comment belongs to the block that it stands before', () => {
  const text =
    'a\n<!-- test: run -->\n\n```sh\nls\n```\n```js\n1\n```\n<!-- test: skip x -->\nb\n```sh\n```\n'
  expect(codeBlocks('page', text)).toMatchObject([
    { language: 'sh', code: 'ls\n', note: 'run', line: 4 },
    { language: 'js', code: '1\n', note: undefined },
    { language: 'sh', code: '', note: undefined },
  ])
})
