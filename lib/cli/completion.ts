import { Argument, Command } from 'commander'

/** Commands whose argument is a running machine. */
const OF_MACHINES = new Set(['console', 'cp', 'exec', 'inspect', 'stop'])

/** `node-kvm completion` */
export function completionCommand(): Command {
  return new Command('completion')
    .description(
      'Print what makes a shell complete the commands: eval "$(node-kvm completion bash)"',
    )
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh']))
    .action((shell: 'bash' | 'zsh', _options: object, command: Command) => {
      process.stdout.write(completionScript(shell, command.parent!))
    })
}

/** zsh's own emulation of bash, which wants its completion; many who have not set it up use zsh all the same. */
const ZSH = `(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -D }
autoload -Uz +X bashcompinit && bashcompinit
`

/** The script for a shell, of the commands that `program` has. */
export function completionScript(shell: 'bash' | 'zsh', program: Command): string {
  const name = program.name()
  const functionName = `_${name.replace(/\W/g, '_')}`
  const commands = program.commands.map((command) => command.name())
  const cases = program.commands.map((command) => {
    const options = command.options.flatMap(({ long, short }) => [long, short])
    const words = [...options, '--help'].filter(Boolean).join(' ')
    const machines = OF_MACHINES.has(command.name()) ? ` $(${name} ps --quiet 2>/dev/null)` : ''
    return `    ${command.name()}) words="${words}${machines}" ;;`
  })
  const script = `# Completion of ${name}.
${functionName}() {
  local words current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD - 1]}"
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.join(' ')} --help --version" -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
    *) words= ;;
  esac
${choiceCases(program)}
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [ "\${#COMPREPLY[@]}" -gt 0 ] || COMPREPLY=($(compgen -f -- "$current"))
}
complete -o filenames -F ${functionName} ${name}
`
  return shell === 'bash' ? script : ZSH + script
}

/** The values of options that have a few. */
function choiceCases(program: Command): string {
  const choices = program.commands.flatMap(({ options }) =>
    options.flatMap(({ long, argChoices }) => (long && argChoices ? [[long, argChoices]] : [])),
  )
  const cases = [...new Map(choices as [string, string[]][])].map(
    ([option, values]) => `    ${option}) words="${values.join(' ')}" ;;`,
  )
  return ['  case "$previous" in', ...cases, '  esac'].join('\n')
}
