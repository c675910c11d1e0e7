import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))

export interface Import {
  /** The importing file, relative to the repository: `'lib/kvm/kvm.ts'`. */
  readonly from: string
  /** A file of ours, in the same form, or a package's or built-in module's name. */
  readonly to: string
  /** Nothing of it is left after compilation. */
  readonly typeOnly: boolean
}

/** All TypeScript files below a folder, relative to the repository, sorted. */
export function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => posix.join(folder, name))
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
    .sort()
}

const COMMENT = /\/\*[\s\S]*?\*\/|(?<=^|[\s;{}()])\/\/[^\n]*/g
const STATEMENT =
  /(?:^|[\n;])\s*(import|export)\b(\s+type\b(?!\s*(?:,|from\b)))?([^'"`;]*?)\bfrom\s*(['"])([^'"\n]+)\4|(?:^|[\n;])\s*import\s*(['"])([^'"\n]+)\6|\bimport\s*\(\s*(['"])([^'"\n]+)\8/g

/** What the text of one file imports or re-exports, dynamically too. */
export function importsOf(file: string, text: string): Import[] {
  return [...text.replace(COMMENT, ' ').matchAll(STATEMENT)].map((match) => {
    const [, , type, clause, , from, , bare, , dynamic] = match
    const specifier = (from ?? bare ?? dynamic)!
    const names = clause?.match(/^\s*\{([^}]*)\}\s*$/)?.[1]?.split(',')
    const inline = names?.map((name) => name.trim()).filter((name) => name !== '')
    return {
      from: file,
      to: specifier.startsWith('.')
        ? posix.join(posix.dirname(file), specifier).replace(/\.js$/, '.ts')
        : specifier,
      typeOnly: type !== undefined || (inline?.every((name) => name.startsWith('type ')) ?? false),
    }
  })
}

export function readImports(file: string): Import[] {
  return importsOf(file, readFileSync(join(root, file), 'utf8'))
}
