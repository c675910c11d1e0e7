import { block } from './block.js'
import type { Case } from './case.js'
import { mem } from './mem.js'
import { net } from './net.js'
import { portCases } from './ports.js'
import { ringGeometry } from './ring-geometry.js'
import { ringWalk } from './ring-walk.js'
import { transport } from './transport.js'

/** All of them, in the order of the list. */
export const cases: readonly Case[] = [
  ...ringGeometry,
  ...ringWalk,
  ...transport,
  ...block,
  ...net,
  ...mem,
  ...portCases,
]
