import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

// Files named *.kvm.test.ts need /dev/kvm, of whatever kind; those in test/guest/ need one that runs stock kernels.
const KVM = 'test/**/*.kvm.test.ts'
const GUEST = 'test/guest/**'
// Those that take longer than a change should wait for: npm test -- --only guest-long.
const GUEST_LONG = 'test/guest/**/*.long.test.ts'
// What must come of hostile guests, and of load and faults: docs/hostile-guests.md.
const HOSTILE = 'test/hostile/**'
const LOAD = 'test/load/**/*.load.ts'

const BUILT = fileURLToPath(new URL('dist/bundle/', import.meta.url))

// The addon's threads and the finalizers of its objects want a process of their own for each file.
const flags = process.env.NODE_KVM_V8_FLAGS?.split(' ') ?? []
const common = {
  pool: 'forks' as const,
  execArgv: ['--expose-gc', ...flags],
  // Limits only end what has failed: most takes milliseconds, but not on a machine that has other things to do.
  expect: { poll: { timeout: 120_000 } },
  testTimeout: 300_000,
  hookTimeout: 300_000,
}

/**
 * What is built is what is tested here, as it is what users run; and compiling it again in an emulated host would take
 * longer than a guest's boot.
 */
function guestProject(name: string, include: string[], exclude: string[] = []) {
  return {
    resolve: {
      alias: [
        {
          find: /^(\.\.\/)+lib\/(?=(index|devices|rootfs|testing|vitest)\.js$)/,
          replacement: BUILT,
        },
      ],
    },
    test: {
      ...common,
      name,
      server: { deps: { external: [/\/dist\/bundle\//] } },
      include,
      exclude,
      // A guest in an emulated host shares its processor with everything else, and a process that has loaded what is built
      // takes seconds of it.
      fileParallelism: false,
      isolate: false,
    },
  }
}

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...common,
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: [KVM, GUEST, HOSTILE],
        },
      },
      {
        test: {
          ...common,
          name: 'kvm',
          include: [KVM],
          exclude: [GUEST, HOSTILE],
        },
      },
      {
        test: {
          ...common,
          name: 'hostile',
          include: ['test/hostile/**/*.test.ts'],
        },
      },
      {
        test: {
          ...common,
          name: 'load',
          include: [LOAD],
          // Each counts descriptors, threads and memory of this machine's.
          fileParallelism: false,
          // In full some start 500 processes, one after another, on whatever machine.
          testTimeout: 3_600_000,
        },
      },
      guestProject('guest', ['test/guest/**/*.test.ts'], [GUEST_LONG]),
      guestProject('guest-long', [GUEST_LONG]),
    ],
    coverage: {
      provider: 'v8',
      include: ['lib/**/*.ts'],
      reportOnFailure: true,
      reporter: ['text-summary', 'json-summary', 'html', 'lcov'],
    },
  },
})
