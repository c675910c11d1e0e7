import { open, rm, stat, utimes } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/** Its owner touches a lock this often, in milliseconds; one not touched for much longer was left by a crash. */
const TOUCH_MS = 2000
const STALE_MS = 15_000
const POLL_MS = 100

/**
 * Runs `action` while no other process holds the lock file `path`; waits for the one that does. It saves double work
 * and is no more than that: who takes a lock for stale that is not must do no harm.
 */
export async function withLock<T>(
  path: string,
  onWait: () => void,
  action: () => Promise<T>,
): Promise<T> {
  let waited = false
  while (!(await take(path))) {
    if (!waited) onWait()
    waited = true
    if (await isStale(path)) await rm(path, { force: true })
    else await sleep(POLL_MS)
  }
  const timer = setInterval(() => {
    const now = new Date()
    utimes(path, now, now).catch(() => {})
  }, TOUCH_MS)
  timer.unref()
  try {
    return await action()
  } finally {
    clearInterval(timer)
    await rm(path, { force: true })
  }
}

async function take(path: string): Promise<boolean> {
  try {
    await (await open(path, 'wx')).close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

async function isStale(path: string): Promise<boolean> {
  try {
    // Nor is it touched that is of the future: the host's clock was put back.
    return Math.abs(Date.now() - (await stat(path)).mtimeMs) > STALE_MS
  } catch {
    // Gone: to be tried at once.
    return false
  }
}
