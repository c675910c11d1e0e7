// Puts counters into the library's sources for fuzzing: one for each way that a branch can go, and a note of what is
// compared. test/fuzz/probes.ts has what they call.
import { readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import ts from 'typescript-5'
import { packageRoot } from './build-addon.mjs'

const PROBES = join(packageRoot, 'test/fuzz/probes.ts')
const NAMES = ['hits', 'reached', 'file', 'equal', 'less', 'greater', 'subject', 'candidate']
const IMPORT = `import { ${NAMES.map((name) => `${name} as $${name}`).join(', ')} } from ${JSON.stringify(PROBES)};`

/** For esbuild: every file of `lib/` with counters. */
export const instrumentation = {
  name: 'instrumentation',
  setup({ onLoad }) {
    let next = 0
    onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const name = relative(packageRoot, path)
      if (!name.startsWith('lib/')) return undefined
      const { text, lines } = instrument(await readFile(path, 'utf8'), name, next)
      next += lines.length
      return { contents: `${IMPORT}${text}`, loader: 'ts' }
    })
  },
}

const { SyntaxKind } = ts
const LOGICAL = new Set([
  SyntaxKind.AmpersandAmpersandToken,
  SyntaxKind.BarBarToken,
  SyntaxKind.QuestionQuestionToken,
])
const COMPARISONS = {
  [SyntaxKind.EqualsEqualsEqualsToken]: '$equal',
  [SyntaxKind.ExclamationEqualsEqualsToken]: '!$equal',
  [SyntaxKind.LessThanToken]: '$less',
  [SyntaxKind.GreaterThanToken]: '$greater',
}

/**
 * @param {string} source of a TypeScript module
 * @param {string} name for reports
 * @param {number} first the number of its first counter; the others follow
 * @returns {{ text: string, lines: number[] }} `lines`: where each counter stands
 */
export function instrument(source, name, first) {
  const file = ts.createSourceFile(name, source, ts.ScriptTarget.ES2022, false)
  const lines = []
  /** What a parent wants done to the text of a node. */
  const wishes = new Map()

  const count = (node) => {
    const id = first + lines.length
    lines.push(file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1)
    return `$hits[${id}]++||$reached(${id})`
  }
  const wish = (node, how) => {
    const counter = count(node)
    wishes.set(node, (text) => how(counter, text))
  }
  const countBlock = (block) => wish(block, (counter, text) => `{${counter};${text.slice(1)}`)
  const countStatement = (statement) => {
    if (ts.isBlock(statement)) countBlock(statement)
    else wish(statement, (counter, text) => `{${counter};${text}\n}`)
  }
  const countValue = (node) => wish(node, (counter, text) => `(${counter},${text})`)

  /** Says what is to become of the children, and how the node itself ends. */
  const plan = (node) => {
    if (ts.isIfStatement(node)) {
      countStatement(node.thenStatement)
      if (node.elseStatement) countStatement(node.elseStatement)
      else return ` else {${count(node)};}`
    } else if (ts.isIterationStatement(node, false)) countStatement(node.statement)
    else if (ts.isCatchClause(node)) countBlock(node.block)
    else if (ts.isConditionalExpression(node)) {
      countValue(node.whenTrue)
      countValue(node.whenFalse)
    } else if (ts.isBinaryExpression(node) && LOGICAL.has(node.operatorToken.kind)) {
      countValue(node.right)
    } else if (ts.isSwitchStatement(node)) {
      wishes.set(node.expression, (text) => `$subject(${text})`)
    } else if (ts.isCaseOrDefaultClause(node)) {
      if (ts.isCaseClause(node)) wishes.set(node.expression, (text) => `$candidate(${text})`)
      if (node.statements[0]) wish(node.statements[0], (counter, text) => `${counter};${text}`)
    } else if (ts.isFunctionLike(node) && node.body) {
      if (ts.isBlock(node.body)) countBlock(node.body)
      else countValue(node.body)
    }
    return ''
  }
  const withChildren = (node) => {
    let text = ''
    let at = node.getStart(file)
    ts.forEachChild(node, (child) => {
      if (ts.isTypeNode(child)) return
      text += source.slice(at, child.getStart(file)) + render(child)
      at = child.end
    })
    return text + source.slice(at, node.end)
  }
  const render = (node) => {
    const end = plan(node)
    const text = isComparison(node)
      ? `${COMPARISONS[node.operatorToken.kind]}(${render(node.left)},${render(node.right)})`
      : withChildren(node)
    return wishes.get(node)?.(text + end) ?? text + end
  }
  const code = file.statements.map(render).join('\n;')
  return {
    text: `$file(${JSON.stringify(name)},${first},${JSON.stringify(lines)});${code}\n`,
    lines,
  }
}

function isComparison(node) {
  return (
    ts.isBinaryExpression(node) &&
    node.operatorToken.kind in COMPARISONS &&
    isOfData(node.left) &&
    isOfData(node.right)
  )
}

/** Whether it may be worth knowing what it was: not what only tells kinds of values apart. */
function isOfData(node) {
  switch (node.kind) {
    case SyntaxKind.TypeOfExpression:
    case SyntaxKind.NullKeyword:
    case SyntaxKind.TrueKeyword:
    case SyntaxKind.FalseKeyword:
      return false
    default:
      return !(ts.isIdentifier(node) && node.text === 'undefined')
  }
}
