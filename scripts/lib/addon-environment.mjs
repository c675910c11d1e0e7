// The environment in which tests load another build of the addon: one with sanitizers, or with counters of lines.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { packageRoot } from './build-addon.mjs'

const JAILED_ADDON = join(packageRoot, 'scripts/lib/jailed-addon.mjs')

/**
 * @param {string} directory where it was built
 * @param {{ variables?: Record<string, string>, jailFlags: string[] }} options variables that it needs, which the
 *   processes of isolated machines get too, and what those may open for it, as flags of node-kvm-jail
 */
export function addonEnvironment(directory, { variables = {}, jailFlags }) {
  // node-gyp-build looks below NODE_KVM_PREBUILD first.
  const given = { ...variables, NODE_KVM_PREBUILD: directory }
  return {
    ...given,
    NODE_KVM_JAILED_FLAGS: JSON.stringify(jailFlags),
    NODE_KVM_JAILED_ENV: JSON.stringify(Object.keys(given)),
    NODE_OPTIONS: `--import=${pathToFileURL(JAILED_ADDON)}`,
  }
}
