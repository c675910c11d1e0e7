// npm run docs:api writes the API reference, a page for each entry point, to dist/api/, from what is published: the
// declarations in dist/lib. npm run docs:check tells which public symbols, and members of them, are not documented.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
// TypeScript 7 has no interface for programs yet.
import ts from 'typescript-5'
import { packageRoot } from './lib/build-addon.mjs'

const manifest = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'))
/**
 * Names that are the kernel's and the virtio specification's, whose documentation is theirs; and codes of errors, whose
 * values say what they mean.
 */
const ABI_NAME = /^(KVM|VIRTIO|VIRTQ|PCI|GUEST_MEMFD|ERR)_[A-Z0-9_]+$/

const entries = Object.entries(manifest.exports)
  .filter(([, target]) => target.types)
  .map(([path, { types }]) => ({
    name: join(manifest.name, path),
    file: join(packageRoot, types),
  }))
const program = ts.createProgram(
  entries.map(({ file }) => file),
  {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
    types: ['node'],
    skipLibCheck: true,
  },
)
const checker = program.getTypeChecker()

const text = (parts) => ts.displayPartsToString(parts).trim()
const resolved = (symbol) =>
  symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
const isAbi = (symbol) => ABI_NAME.test(symbol.name)

/** An entry point's symbols by name, each with what it is. */
function symbolsOf({ file }) {
  const source = program.getSourceFile(file)
  if (!source) throw new Error(`${file} is not there: npm run build:ts`)
  return checker
    .getExportsOfModule(checker.getSymbolAtLocation(source))
    .map((symbol) => ({ name: symbol.name, symbol: resolved(symbol) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

const docOf = (symbol) => text(symbol.getDocumentationComment(checker))
const isInternal = (symbol) => symbol.getJsDocTags(checker).some(({ name }) => name === 'internal')

/** All that entry points export: a base class that is among them has its members told of there. */
const exported = new Set(entries.flatMap((entry) => symbolsOf(entry).map(({ symbol }) => symbol)))

/** Members by a declaration's own words, and before them those of base classes of the package that nobody can look up. */
function declaredMembers(declaration) {
  const inherited = (declaration?.heritageClauses ?? [])
    .filter(({ token }) => token === ts.SyntaxKind.ExtendsKeyword)
    .flatMap(({ types }) => types.map(({ expression }) => checker.getSymbolAtLocation(expression)))
    .map((base) => base && resolved(base))
    .filter((base) => base && !exported.has(base))
    .flatMap((base) => base.declarations ?? [])
    .filter((each) => each.getSourceFile().fileName.startsWith(join(packageRoot, 'dist')))
    .flatMap(declaredMembers)
  return [...inherited, ...(declaration?.members ?? declaration?.type?.members ?? [])]
}

/**
 * Members that a user sees, each once: of classes, interfaces and object types, but for what is private or internal, and
 * what a stream calls of its own (`_read`).
 */
function membersOf(symbol) {
  const members = declaredMembers(symbol.declarations?.[0])
  const hidden = ts.ModifierFlags.Private | ts.ModifierFlags.Protected
  const named = [...members]
    .filter((member) => member.name && ts.isIdentifier(member.name))
    .filter((member) => (ts.getCombinedModifierFlags(member) & hidden) === 0)
    .map((member) => ({ name: member.name.text, symbol: checker.getSymbolAtLocation(member.name) }))
    .filter((member) => member.symbol && !isInternal(member.symbol))
    .filter((member) => !member.name.startsWith('_'))
  return [...new Map(named.map((member) => [member.name, member])).values()]
}

function tagsOf(symbol) {
  return symbol
    .getJsDocTags(checker)
    .map(({ name, text: parts }) => `*@${name}* ${text(parts ?? [])}`.trim())
    .map((line) => line.replace(/^\*@example\* (.*)$/s, '$1'))
}

function signatureOf(declaration) {
  const printed = declaration.getText().replace(/\/\*\*[\s\S]*?\*\//g, '')
  const head = /[{]/.test(printed) && !ts.isTypeAliasDeclaration(declaration)
  const whole = printed.replace(/\n\s*\n/g, '\n').trim()
  return head && whole.length > 2000 ? `${whole.slice(0, whole.indexOf('{')).trim()} { … }` : whole
}

function page(entry, symbols) {
  const lines = [`# ${entry.name}`, '']
  for (const { name, symbol } of symbols.filter((each) => !isAbi(each.symbol))) {
    lines.push(`## ${name}`, '', docOf(symbol), '', ...tagsOf(symbol).flatMap((tag) => [tag, '']))
    const declarations = (symbol.declarations ?? []).filter((each) => !ts.isSourceFile(each))
    for (const each of declarations) lines.push('```ts', signatureOf(each), '```', '')
    for (const member of membersOf(symbol)) {
      const [declaration] = member.symbol.declarations
      const own = [docOf(member.symbol), ...tagsOf(member.symbol)].filter((part) => part !== '')
      const said = own
        .join(' ')
        .replace(/\s*```[\s\S]*?```/g, '')
        .replace(/\n+/g, ' ')
      lines.push(`- \`${signatureOf(declaration).replace(/\s+/g, ' ').replace(/;$/, '')}\` ${said}`)
    }
    lines.push('')
  }
  const abi = symbols.filter((each) => isAbi(each.symbol)).map(({ name }) => `\`${name}\``)
  if (abi.length > 0) lines.push('## As the kernel and virtio call them', '', abi.join(' '), '')
  return lines.join('\n').replace(/\n{3,}/g, '\n\n')
}

const check = process.argv.includes('--check')
const output = join(packageRoot, 'dist/api')
let documented = 0
const missing = []
for (const entry of entries) {
  const symbols = symbolsOf(entry)
  for (const { name, symbol } of symbols) {
    const members = membersOf(symbol).map((member) => ({
      name: `${name}.${member.name}`,
      symbol: member.symbol,
    }))
    for (const each of [{ name, symbol }, ...members]) {
      if (docOf(each.symbol) !== '' || isAbi(each.symbol)) documented++
      else missing.push(`${entry.name}: ${each.name}`)
    }
  }
  if (!check) {
    mkdirSync(output, { recursive: true })
    const file = `${entry.name.replace(/\//g, '-')}.md`
    writeFileSync(join(output, file), page(entry, symbols))
    console.log(`dist/api/${file}: ${symbols.length} symbols`)
  }
}
if (check) {
  for (const name of missing) console.log(`not documented: ${name}`)
  console.log(`${documented} passed, ${missing.length} failed`)
  process.exitCode = missing.length === 0 ? 0 : 1
}
