import { defineConfig } from 'vitest/config'

// Files named *.kvm.test.ts need /dev/kvm, of whatever kind; those in test/guest/ need one that runs stock kernels.
const KVM = 'test/**/*.kvm.test.ts'
const GUEST = 'test/guest/**'

// The addon's threads and the finalizers of its objects want a process of their own for each file.
const common = { pool: 'forks' as const, execArgv: ['--expose-gc'] }

export default defineConfig({
  test: {
    projects: [
      { test: { ...common, name: 'unit', include: ['test/**/*.test.ts'], exclude: [KVM, GUEST] } },
      {
        test: {
          ...common,
          name: 'kvm',
          include: [KVM],
          exclude: [GUEST],
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
      {
        test: {
          ...common,
          name: 'guest',
          include: ['test/guest/**/*.test.ts'],
          // A guest in an emulated host has two processors to share with everything else.
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
    ],
    coverage: {
      provider: 'v8',
      include: ['lib/**/*.ts'],
      reporter: ['text-summary', 'html', 'lcov'],
    },
  },
})
