import { rmSync } from 'node:fs'

const paths = new Set<string>()

/** What no `close()` removes any more when the process ends by `process.exit()` or an exception. */
function removeAll(): void {
  for (const path of paths) rmSync(path, { force: true })
}

/**
 * Has a file removed when the process (in a Worker: the thread) ends by itself, by `process.exit()` or by an uncaught
 * exception. By a signal that nothing handles it ends before any code of its own runs.
 * @returns what ends that
 */
export function removeAtExit(path: string): () => void {
  if (paths.size === 0) process.on('exit', removeAll)
  paths.add(path)
  return () => {
    paths.delete(path)
    if (paths.size === 0) process.off('exit', removeAll)
  }
}
