import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { Command, Option } from 'commander'
import { expect, it } from 'vitest'
import { completionScript } from '../../lib/cli/completion.js'
import { PATIENCE } from '../helpers/process-state.js'
import { temporaryFolder } from '../helpers/temporary-folder.js'

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

const hasZsh = spawnSync('zsh', ['--version']).status === 0
if (!hasZsh) console.log('completion in zsh is not tried: there is no zsh')

/** Types a line, a tab and a return in an interactive zsh that has nothing set up, and waits for what is run then. */
function typeInZsh(folder: string, line: string, run: string): string {
  const stub = '[ "$1" = ps ] && printf "one\\ntwo\\n" || print -r -- "ra""n $* ."'
  writeFileSync(`${folder}/setup`, `node-kvm() { ${stub} }\nsource ${folder}/completion\n`)
  const script = `
    zmodload zsh/zpty
    zpty z "TERM=dumb zsh -f -i"
    zpty -w z 'source ${folder}/setup; echo load""ed'
    zpty -r z out '*loaded*'
    zpty -w z ${JSON.stringify(line)}$'\\t'
    zpty -r z out '*${run}*' && print -r -- "$out"
    zpty -d z`
  return execFileSync('zsh', ['-f', '-c', script], { encoding: 'utf8', timeout: PATIENCE })
}

it.skipIf(!hasZsh).each([
  ['node-kvm st', 'ran stop .'],
  ['node-kvm run --emulate al', 'ran run --emulate always .'],
  ['node-kvm stop tw', 'ran stop two .'],
])('zsh completes %s: %s', (typed, run) => {
  using folder = temporaryFolder('zsh')
  writeFileSync(folder.path('completion'), completionScript('zsh', program))
  expect(typeInZsh(folder.path(), typed, run)).toContain(run)
})
