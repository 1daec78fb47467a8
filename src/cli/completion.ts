/**
 * `henge completion SHELL`: a script that completes subcommands and options, made from the commands themselves.
 *
 * The script is static: nothing is run at the press of a key, so completion is instant and works without a cluster.
 */
import { Argument, type Command, type Option } from 'commander';
import { examples } from './command.js';

interface Entry {
  readonly name: string;
  readonly description: string;
  readonly options: readonly Option[];
  /** Words that its arguments may be. */
  readonly choices: readonly string[];
}

export function addCompletion(program: Command): void {
  const command = program
    .command('completion')
    .description('print a script that completes this command in a shell')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish']))
    .action((shell: keyof typeof SCRIPTS) => {
      process.stdout.write(SCRIPTS[shell](entriesOf(program)));
    });
  examples(command, [
    'source <(henge completion bash)                                    # this shell; put it into ~/.bashrc to keep it',
    'henge completion zsh > ~/.zsh/completions/_henge                   # a folder of your $fpath',
    'henge completion fish > ~/.config/fish/completions/henge.fish',
  ]);
}

function entriesOf(program: Command): Entry[] {
  return program.commands.map((command) => ({
    name: command.name(),
    description: command.description(),
    options: command.options.filter((option) => !option.hidden),
    choices: command.registeredArguments.flatMap(({ argChoices = [] }) => argChoices),
  }));
}

const flagsOf = (option: Option) => [option.short, option.long].filter((flag) => flag !== undefined);

const SCRIPTS = { bash, zsh, fish };

function bash(entries: readonly Entry[]): string {
  const cases = entries.map(
    ({ name, options, choices }) =>
      `    ${name}) words='${[...choices, ...options.flatMap(flagsOf)].join(' ')} --help' ;;`,
  );
  return `# bash completion for henge
_henge() {
  local current=\${COMP_WORDS[COMP_CWORD]} words
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '${entries.map(({ name }) => name).join(' ')} --help --version' -- "$current"))
    return
  fi
  case \${COMP_WORDS[1]} in
${cases.join('\n')}
    *) words='' ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _henge henge
`;
}

function zsh(entries: readonly Entry[]): string {
  const quote = (text: string) => text.replaceAll("'", "'\\''").replaceAll('[', '\\[').replaceAll(']', '\\]');
  const commands = entries.map(({ name, description }) => `    '${name}:${quote(description).replaceAll(':', '\\:')}'`);
  const cases = entries.map(({ name, options, choices }) => {
    const argument = choices.length === 0 ? '*:argument:_files' : `*:argument:(${choices.join(' ')})`;
    const specs = options.flatMap((option) =>
      flagsOf(option).map((flag) => `'${flag}[${quote(option.description)}]${option.isBoolean() ? '' : ':value:'}'`),
    );
    return `    ${name}) _arguments ${specs.join(' ')} '--help[show help]' '${argument}' ;;`;
  });
  return `#compdef henge
_henge() {
  local -a commands
  commands=(
${commands.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe 'command' commands
    return
  fi
  shift words
  (( CURRENT-- ))
  case $words[1] in
${cases.join('\n')}
  esac
}
# Run from a file of fpath, this is the first completion itself; sourced, it only makes itself known.
if [ "$funcstack[1]" = _henge ]; then _henge "$@"; else compdef _henge henge; fi
`;
}

function fish(entries: readonly Entry[]): string {
  const quote = (text: string) => text.replaceAll('\\', '\\\\').replaceAll("'", "\\'");
  const lines = entries.flatMap(({ name, description, options, choices }) => [
    `complete -c henge -n __fish_use_subcommand -f -a ${name} -d '${quote(description)}'`,
    ...choices.map((choice) => `complete -c henge -n '__fish_seen_subcommand_from ${name}' -f -a ${choice}`),
    ...options.map((option) => {
      const short = option.short === undefined ? '' : ` -s ${option.short.slice(1)}`;
      const long = option.long === undefined ? '' : ` -l ${option.long.slice(2)}`;
      const value = option.isBoolean() ? '' : ' -r';
      const condition = `'__fish_seen_subcommand_from ${name}'`;
      return `complete -c henge -n ${condition}${short}${long}${value} -d '${quote(option.description)}'`;
    }),
  ]);
  return `# fish completion for henge\n${lines.join('\n')}\n`;
}
