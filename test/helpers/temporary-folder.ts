import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A folder of its own, gone at the end of its scope. */
export function temporaryFolder(name: string): Disposable & { path(...parts: string[]): string } {
  const folder = mkdtempSync(join(tmpdir(), `node-kvm-${name}-`))
  return {
    path: (...parts) => join(folder, ...parts),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}
