// How vitest is started: as arguments for Node, not through npx, as a shell with libtsan in it crashes.
import { join } from 'node:path'
import { packageRoot } from './build-addon.mjs'

const PROGRAM = join(packageRoot, 'node_modules/vitest/vitest.mjs')
const REPORTER = join(packageRoot, 'scripts/lib/results-reporter.mjs')
/** Those that run wherever there is a /dev/kvm of any kind, and count no descriptors of the machine's. */
const USUAL_PROJECTS = ['unit', 'kvm', 'hostile']

/** @param {string[]} names */
export const projectArguments = (names) => names.map((name) => `--project=${name}`)

/**
 * With arguments that were given to a script, and of these projects if there are none.
 * @param {string[]} given
 * @param {string[]} [projects]
 */
export function vitestWith(given, projects = USUAL_PROJECTS) {
  return [PROGRAM, 'run', ...(given.length > 0 ? given : projectArguments(projects))]
}

/**
 * So that its results can be read, whatever ends it: see results.mjs. NODE_KVM_RESULTS in the environment is the file
 * for them.
 * @param {string[]} projects
 * @param {string[]} [filters]
 */
export function vitest(projects, filters = []) {
  const reporters = ['--reporter=default', `--reporter=${REPORTER}`]
  return vitestWith([...projectArguments(projects), ...reporters, ...filters])
}
