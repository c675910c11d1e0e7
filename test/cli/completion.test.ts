import { execFileSync } from 'node:child_process'
import { Command, Option } from 'commander'
import { expect, it } from 'vitest'
import { completionScript } from '../../lib/cli/completion.js'

const program = new Command('node-kvm')
program
  .command('run')
  .option('-m, --memory <size>')
  .addOption(new Option('--emulate <when>').choices(['auto', 'always', 'never']))
program.command('stop')

/** What bash offers for a line, of which the last word is being typed. */
function complete(...words: string[]): string[] {
  const script = `
    node-kvm() { printf 'one\\ntwo\\n'; }
    ${completionScript('bash', program)}
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _node_kvm
    printf '%s\\n' "\${COMPREPLY[@]}"`
  return execFileSync('bash', ['-c', script, 'bash', ...words], { cwd: '/dev', encoding: 'utf8' })
    .split('\n')
    .filter(Boolean)
}

it.each([
  [
    ['node-kvm', ''],
    ['run', 'stop', '--help', '--version'],
  ],
  [['node-kvm', 'r'], ['run']],
  [['node-kvm', 'run', '--m'], ['--memory']],
  [
    ['node-kvm', 'run', '--emulate', ''],
    ['auto', 'always', 'never'],
  ],
  [
    ['node-kvm', 'stop', ''],
    ['--help', 'one', 'two'],
  ],
  [['node-kvm', 'run', 'nul'], ['null']],
])('%j offers %j', (words, offered) => {
  expect(complete(...words)).toEqual(offered)
})

it('is loaded by zsh through its own emulation of bash', () => {
  expect(completionScript('zsh', program)).toMatch(
    /^autoload -U \+X bashcompinit && bashcompinit\n/,
  )
})
