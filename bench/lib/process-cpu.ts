import { readFileSync } from 'node:fs'

/** USER_HZ, which the kernel's ABI has at 100 on x86. */
const TICKS_PER_SECOND = 100

/** CPU seconds that a process has taken, all of its threads and its guest included: proc_pid_stat(5). */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The second field, the program's name in parentheses, may contain anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [user, system] = [fields[11], fields[12]]
  return (Number(user) + Number(system)) / TICKS_PER_SECOND
}
