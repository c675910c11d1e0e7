import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { root } from '../helpers/imports.js'

const folder = join(root, 'docs/ci')

/** As GitHub reads it, but for `on`, which YAML 1.1 takes for a truth value. */
function readYaml(text: string) {
  const program = 'import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)'
  return spawnSync('python3', ['-c', program], { input: text, encoding: 'utf8' })
}

const hasYaml = readYaml('a: 1').status === 0
if (!hasYaml) console.log('docs/ci is not read: python3 has no module yaml (python3-yaml)')

interface Step {
  readonly uses?: string
  readonly run?: string
  readonly with?: Record<string, string | number>
}

describe.skipIf(!hasYaml).each(readdirSync(folder))('docs/ci/%s', (name) => {
  const { stdout } = readYaml(readFileSync(join(folder, name), 'utf8'))
  const { jobs, ...top } = JSON.parse(stdout) as {
    jobs: Record<string, { 'runs-on': string; 'timeout-minutes': number; steps: Step[] }>
  }
  const steps = Object.values(jobs).flatMap((job) => job.steps)

  it('has what a workflow has', () => {
    expect(top).toMatchObject({ name: expect.any(String), true: expect.anything() })
    for (const job of Object.values(jobs)) {
      expect(job['runs-on']).toMatch(/^ubuntu-/)
      expect(job['timeout-minutes']).toBeGreaterThan(0)
    }
    for (const { uses, run } of steps) {
      expect([uses, run].filter((what) => what !== undefined)).toHaveLength(1)
      if (uses !== undefined) expect(uses).toMatch(/^actions\/[\w-]+@v\d+$/)
    }
  })

  it('installs on this Debian or Ubuntu what it names', () => {
    const install = steps.find(({ run }) => run?.includes('apt-get install'))!.run!
    const packages = install.split(/install -y --no-install-recommends /)[1]!.split(' ')
    expect(packages).toContain('qemu-system-x86')
    expect(packages).toContain('debian-archive-keyring')
    const lists = '/var/lib/apt/lists'
    const areKnown = existsSync(lists) && readdirSync(lists).some((name) => /_Packages/.test(name))
    const unknown = areKnown
      ? packages.filter((name) => {
          const { status, stdout } = spawnSync('apt-cache', ['show', name], { encoding: 'utf8' })
          const isInstalled = spawnSync('dpkg', ['-s', name]).status === 0
          return !isInstalled && (status !== 0 || stdout === '')
        })
      : []
    expect(unknown).toEqual([])
  })

  it('takes a Node that the package runs on', () => {
    const node = steps.find(({ uses }) => uses?.startsWith('actions/setup-node@'))!
    const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    expect(Number(node.with!['node-version'])).toBeGreaterThanOrEqual(Number(engines.node.slice(2)))
  })

  it('has only commands that are tried', () => {
    // The first installs; scripts/test-docs.mjs runs the last, and .ci/run the second.
    const commands = steps.flatMap(({ run }) => run ?? [])
    expect(commands.slice(1)).toEqual(['npm ci', expect.stringMatching(/^npx node-kvm host /)])
  })
})
