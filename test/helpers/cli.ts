import { join } from 'node:path'
import { root } from './imports.js'

/** The program of `node-kvm`, as it is published. */
export const CLI = join(root, 'dist/bundle/cli/main.cjs')
