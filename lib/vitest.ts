/**
 * Matchers for vitest.
 * @module node-kvm/testing/vitest
 */
export { type BootMatchers, bootMatchers } from './testing/vitest-matchers.js'
