// How vitest is started so that its results can be read, whatever ends it: see results.mjs.
import { join } from 'node:path'
import { packageRoot } from './build-addon.mjs'

const REPORTER = join(packageRoot, 'scripts/lib/results-reporter.mjs')

/**
 * Arguments for Node; NODE_KVM_RESULTS in the environment is the file for the results.
 * @param {string[]} projects
 * @param {string[]} [filters]
 */
export function vitest(projects, filters = []) {
  const program = join(packageRoot, 'node_modules/vitest/vitest.mjs')
  const reporters = ['--reporter=default', `--reporter=${REPORTER}`]
  return [program, 'run', ...projects.map((name) => `--project=${name}`), ...reporters, ...filters]
}
