// SPDX-License-Identifier: Apache-2.0
/**
 * Completions for shells, made from the tables of verbs and options.
 *
 * @module
 */
import { optionHelp } from "../control/verbs/help.ts";

interface Named {
  readonly name: string;
  readonly summary: string;
}

/** Long options, without what follows a `=`. */
function longOptions(): Named[] {
  return optionHelp.flatMap(([names, summary]) =>
    [...names.matchAll(/--([a-z-]+)/g)].map(([, name = ""]) => ({ name, summary }))
  );
}

/** Verbs that begin with a datapath. */
const withoutDatapath = ["doctor", "completions", "help", "list-commands", "dump-dps"];

/** A script that a shell reads: verbs first, then names of datapaths. */
export function completionsFor(
  shell: "bash" | "zsh" | "fish",
  verbs: readonly Named[],
): string {
  const script = { bash, zsh, fish }[shell];
  return script(verbs, longOptions());
}

function bash(verbs: readonly Named[], options: readonly Named[]): string {
  return `# Completions of dpctl for bash: source this file.
_dpctl() {
  local word=\${COMP_WORDS[COMP_CWORD]} at verb=
  for ((at = 1; at < COMP_CWORD; at++)); do
    [[ \${COMP_WORDS[at]} == -* ]] || { verb=\${COMP_WORDS[at]}; break; }
  done
  COMPREPLY=()
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "${
    options.map(({ name }) => `--${name}`).join(" ")
  }" -- "$word"))
  elif [[ -z $verb ]]; then
    COMPREPLY=($(compgen -W "${verbs.map(({ name }) => name).join(" ")}" -- "$word"))
  else
    case $verb in
      ${withoutDatapath.join("|")}) ;;
      *)
        # Names are data: \`compgen -W\` would expand them, and so would the command line.
        local name quoted
        while IFS= read -r name; do
          printf -v quoted %q "$name"
          [[ $name == "$word"* || $quoted == "$word"* ]] && COMPREPLY+=("$quoted")
        done < <(dpctl dump-dps 2>/dev/null) ;;
    esac
  fi
}
COMP_WORDBREAKS=\${COMP_WORDBREAKS//@/}
complete -o default -F _dpctl dpctl
`;
}

function zsh(verbs: readonly Named[], options: readonly Named[]): string {
  const quoted = (text: string): string => text.replaceAll("'", "'\\''");
  const verbLines = verbs.map(({ name, summary }) => `    '${name}:${quoted(summary)}'`);
  const optionLines = options.map(({ name, summary }) =>
    `    '--${name}[${quoted(summary).replaceAll(/[[\]]/g, "")}]' \\`
  );
  return `#compdef dpctl
# Completions of dpctl for zsh: a file named _dpctl in a folder of $fpath.
_dpctl() {
  local -a verbs datapaths
  verbs=(
${verbLines.join("\n")}
  )
  _arguments -C \\
${optionLines.join("\n")}
    '1:verb:->verb' '*:datapath:->datapath' && return
  case $state in
    verb) _describe verb verbs ;;
    datapath)
      datapaths=(\${(f)"$(dpctl dump-dps 2>/dev/null)"})
      compadd -a datapaths
      _files ;;
  esac
}
_dpctl "$@"
`;
}

function fish(verbs: readonly Named[], options: readonly Named[]): string {
  const quoted = (text: string): string =>
    `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const names = verbs.map(({ name }) => name).join(" ");
  return [
    "# Completions of dpctl for fish: a file named dpctl.fish in ~/.config/fish/completions.",
    `set -l verbs ${names}`,
    ...verbs.map(({ name, summary }) =>
      `complete -c dpctl -n "not __fish_seen_subcommand_from $verbs" -f -a ${name} ` +
      `-d ${quoted(summary)}`
    ),
    'complete -c dpctl -n "__fish_seen_subcommand_from $verbs" ' +
    '-a "(dpctl dump-dps 2>/dev/null)"',
    ...options.map(({ name, summary }) =>
      `complete -c dpctl -l ${name} -d ${quoted(summary)}`
    ),
    "",
  ].join("\n");
}
