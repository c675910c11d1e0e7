import { expect } from 'vitest'
import { COM1_PORT } from '../../../lib/arch/x86-64/layout.js'
import type { Bench } from '../bench.js'
import { script } from '../ring.js'
import { Script, type Width } from '../script.js'
import { STEPS_MAX } from '../script-guest.js'
import type { Case } from './case.js'

const LCR = COM1_PORT + 3
const MCR = COM1_PORT + 4

/** Steps as many as it takes, some thousands to a script. */
async function runAll(bench: Bench, steps: readonly Script[]): Promise<void> {
  const most = STEPS_MAX / 4
  for (let at = 0; at < steps.length; at += most) {
    await bench.run(script(...steps.slice(at, at + most)))
  }
}

/** All ports but those that end a machine or that the interrupt controllers in the kernel have. */
const ports = Array.from({ length: 0x1_0000 }, (_, port) => port).filter(
  (port) => !(port >= 0x20 && port < 0x100) && !(port >= 0x600 && port < 0x610) && port !== 0xcf9,
)

function everyPort(width: Width): Case {
  return {
    id: 'PORT-05',
    title: `every port by ${width} bytes, both ways`,
    play: async (bench) => {
      await runAll(
        bench,
        ports.filter((port) => port % width === 0).map((port) => new Script().in(port, width)),
      )
      const written = ports.filter((port) => port < 0x1000 || port % 16 === 0)
      await runAll(
        bench,
        written.map((port) => new Script().out(port, width, 0)),
      )
    },
  }
}

export const portCases: readonly Case[] = [
  {
    id: 'PORT-01',
    title: 'output to the serial port without end',
    play: async (bench) => {
      const burst = script(
        ...Array.from({ length: 5000 }, (_, i) => new Script().out(COM1_PORT, 1, i)),
      )
      for (let i = 0; i < 4; i++) await bench.run(burst)
    },
  },
  {
    id: 'PORT-03',
    title: 'every value in every register of the serial port, with and without DLAB and loopback',
    play: async (bench) => {
      for (const [lcr, mcr] of [
        [0x03, 0],
        [0x83, 0],
        [0x03, 0x10],
        [0x83, 0x1f],
      ] as const) {
        const writes = Array.from({ length: 8 * 256 }, (_, i) => i)
          .map((i) => ({ register: i >> 8, value: i & 0xff }))
          .map(({ register, value }) =>
            new Script()
              .out(LCR, 1, lcr)
              .out(MCR, 1, mcr)
              .out(COM1_PORT + register, 1, value)
              .in(COM1_PORT + register, 1)
              .in(COM1_PORT + 2, 1),
          )
        for (let at = 0; at < writes.length; at += 512) {
          await bench.run(script(...writes.slice(at, at + 512)))
        }
      }
      await bench.run(
        new Script()
          .out(COM1_PORT + 1, 1, 0)
          .out(LCR, 1, 3)
          .out(MCR, 1, 0),
      )
    },
  },
  {
    id: 'PORT-04',
    title: 'a divisor of 0',
    play: async (bench) => {
      const divisor = new Script()
        .out(LCR, 1, 0x83)
        .out(COM1_PORT, 1, 0)
        .out(COM1_PORT + 1, 1, 0)
      const [scratch] = await bench.run(
        divisor
          .out(LCR, 1, 3)
          .out(COM1_PORT, 1, 0x41)
          .out(COM1_PORT + 7, 1, 0x5a)
          .in(COM1_PORT + 7, 1),
      )
      expect(scratch).toBe(0x5an)
    },
  },
  everyPort(1),
  everyPort(2),
  everyPort(4),
]
