-- Completion for shells, made from manual/words.lua: two data tables, and a function of the shell's that looks into them.
--
--   completion.bash(), completion.zsh() -> text

local words = require "manual.words"

local M = {}

local function add_all(to, list)
  for _, item in ipairs(list) do to[#to + 1] = item end
  return to
end

-- "cchost policy apply" ...: everything that can follow, as whole paths from the program's name on.
local function paths()
  local out = {}
  for _, path in ipairs(words.paths("cchost", words.commands())) do out[#out + 1] = "cchost " .. path end
  for _, path in ipairs(words.paths("ccc", words.ccc())) do
    out[#out + 1] = "ccc " .. path
    out[#out + 1] = "cchost ccc " .. path
  end
  return out
end

local function settings()
  local out = {}
  for i, s in ipairs(words.settings()) do out[i] = s.option end
  return table.concat(out, " ")
end

-- "    'cchost policy'*) printf ..." of each command's own options
local function options(indent)
  local out = {}
  local function one(program, list)
    for _, c in ipairs(list) do
      out[#out + 1] = ("%s'%s %s'*) echo '%s' ;;"):format(indent, program, c.name, table.concat(words.options(c.help), " "))
    end
  end
  one("cchost ccc", words.ccc())
  one("ccc", words.ccc())
  one("cchost", words.commands())
  return table.concat(out, "\n")
end

local function values(indent)
  local out = {}
  for _, s in ipairs(words.settings()) do
    if s.values then out[#out + 1] = ("%s%s) echo '%s' ;;"):format(indent, s.option:sub(1, -2), table.concat(s.values, " ")) end
  end
  return table.concat(out, "\n")
end

-- What both shells share is written in what both understand.
local function data()
  return table.concat(add_all({}, {
    "_cchost_paths='" .. table.concat(paths(), "\n") .. "'",
    "_cchost_settings='" .. settings() .. "'",
    "_cchost_options() {\n  case $1 in\n" .. options("    ") .. "\n  esac\n}",
    "_cchost_values() {\n  case $1 in\n" .. values("    ") .. "\n  esac\n}",
  }), "\n")
end

local BASH = [=[
# Completion of cchost and ccc for bash: made by `cchost completion bash`.
%s
# What was typed so far, as far as it is literal words: the longest path that there is.
_cchost_path() {
  local path=$1 word
  shift
  for word; do
    case $word in -*) continue ;; esac
    case $'\n'$_cchost_paths$'\n' in *$'\n'"$path $word"$'\n'*) path="$path $word" ;; *) break ;; esac
  done
  echo "$path"
}
_cchost() {
  local cur=${COMP_WORDS[COMP_CWORD]} last='' path line found=''
  [ "$COMP_CWORD" -gt 0 ] && last=${COMP_WORDS[COMP_CWORD - 1]}
  COMPREPLY=()
  # "=" is a word of its own to readline
  if [ "$cur" = = ]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_cchost_values "$last")" -- '')
    return
  elif [ "$last" = = ]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_cchost_values "${COMP_WORDS[COMP_CWORD - 2]}")" -- "$cur")
    return
  fi
  path=$(_cchost_path "${COMP_WORDS[0]##*/}" "${COMP_WORDS[@]:1:COMP_CWORD-1}")
  if [ "${cur#-}" != "$cur" ]; then
    found="$(_cchost_options "$path") $_cchost_settings"
  else
    while IFS= read -r line; do
      case $line in "$path "*) line=${line#"$path "} && found="$found ${line%%%% *}" ;; esac
    done <<<"$_cchost_paths"
    [ "$path" = cchost ] && found="$found --help --version"
  fi
  mapfile -t COMPREPLY < <(compgen -W "$found" -- "$cur" | sort -u)
  case ${COMPREPLY[*]} in *=) [ "${#COMPREPLY[@]}" = 1 ] && compopt -o nospace 2>/dev/null ;; esac
}
complete -o default -F _cchost cchost ccc
]=]

local ZSH = [=[
#compdef cchost ccc
# Completion of cchost and ccc for zsh: made by `cchost completion zsh`.
%s
_cchost_does=(
%s
)
_cchost() {
  local path_=${words[1]:t} word line
  local -a found spaced
  for word in "${(@)words[2,CURRENT-1]}"; do
    [[ $word == -* ]] && continue
    [[ $'\n'$_cchost_paths$'\n' == *$'\n'"$path_ $word"$'\n'* ]] || break
    path_="$path_ $word"
  done
  if [[ ${words[CURRENT]} == --*=* ]]; then
    local name=${words[CURRENT]%%%%=*}
    found=(${=$(_cchost_values $name)})
    if (( $#found )); then
      compset -P '*='
      compadd -a found
    else
      compset -P '*=' && _files
    fi
  elif [[ ${words[CURRENT]} == -* ]]; then
    for word in ${=$(_cchost_options $path_)} ${=_cchost_settings}; do
      if [[ $word == *= ]]; then spaced+=($word) else found+=($word) fi
    done
    compadd -a found
    compadd -S '' -a spaced
  elif [[ $path_ == cchost ]]; then
    _describe -t commands command _cchost_does
    _files -g '*.lua'
  else
    for line in ${(f)_cchost_paths}; do
      [[ $line == "$path_ "* ]] && line=${line#"$path_ "} && found+=(${line%%%% *})
    done
    if (( $#found )); then compadd -a found; else _files; fi
  fi
}
_cchost "$@"
]=]

function M.bash() return BASH:format(data()) end

function M.zsh()
  local does = {}
  for i, c in ipairs(words.commands()) do does[i] = ("  '%s:%s'"):format(c.name, (c.does:gsub("'", "'\\''"):gsub(":", "\\:"))) end
  return ZSH:format(data(), table.concat(does, "\n"))
end

return M
