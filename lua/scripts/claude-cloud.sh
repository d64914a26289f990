#!/bin/sh
# claude-cloud - signs you in to a cchost server and connects you to your machine there.
#
# One POSIX sh script that needs curl and what POSIX has (awk, sed, tr, od). What is secret is given to curl on its standard
# input, never as an argument that others could see. Everything is in functions, called in the last line: a part of this
# file does nothing.
set -u

default_url=http://localhost:8080
c2=$(printf '\302') c1_first=$(printf '\200') c1_last=$(printf '\237')
nl='
'
empty_object='{}'

usage() {
    cat <<EOF
usage: claude-cloud COMMAND

  login [EMAIL]     sends you a magic link
  verify [TOKEN]    signs you in with the token of that link, or the link itself
  connect [NAME]    connects to a machine; to the one that you used last without NAME
  status            who you are
  logout            signs you out
  list              your machines
  start [NAME]      starts a machine, stop [NAME] stops it
  logs [NAME]       what its command wrote
  help              this

NAME is a machine's name or id; it may be left out where you have just one.
CLAUDE_CLOUD_URL is the server ($default_url). curl takes https_proxy and CURL_CA_BUNDLE from the environment.
EOF
}

fail() {
    echo "$1" >&2
    exit 1
}

not_logged_in() { fail "Not logged in. Run: claude-cloud login"; }

# ---- text

# Standard input without what could steer a terminal.
plain() { LC_ALL=C tr '\001-\010\013-\037\177' '?' | LC_ALL=C sed "s/${c2}[$c1_first-$c1_last]/?/g"; }

# The text as a JSON string.
json_string() {
    LC_ALL=C awk '
        BEGIN { for (i = 1; i < 32; i++) code[sprintf("%c", i)] = sprintf("\\u%04x", i); code["\177"] = "\\u007f" }
        {
            if (NR > 1) out = out "\\n"
            for (i = 1; i <= length($0); i++) {
                c = substr($0, i, 1)
                if (c == "\\" || c == "\"") c = "\\" c
                else if (c in code) c = code[c]
                out = out c
            }
        }
        END { printf "\"%s\"", out }' <<EOF
$1
EOF
}

# json_rows "NAME NAME...": of the JSON object on standard input, or of every object in an array, these members (text,
# numbers, true and false; null and what is not there is empty), one object a line, tabs between them. Nothing, and a
# failure, when it is no JSON. Characters that a terminal could take for commands are "?"; \u beyond ASCII stays as it is.
json_rows() {
    LC_ALL=C awk -v columns="$1" '
        function next_is(c) { sub(/^[ \t\r\n]+/, "", s); return substr(s, 1, 1) == c }
        function take() { s = substr(s, 2) }
        function hex(t,   i, n, d) {
            if (length(t) != 4) bad = 1
            for (i = 1; i <= 4; i++) {
                d = index("0123456789abcdef", tolower(substr(t, i, 1)))
                if (!d || substr(t, i, 1) == "") bad = 1
                n = n * 16 + d - 1
            }
            return n
        }
        function escaped(e,   n) {
            if (e == "u") {
                n = hex(substr(s, RSTART + 2, 4))
                return n < 32 || n == 127 ? "?" : n < 127 ? sprintf("%c", n) : substr(s, RSTART, 6)
            }
            if (e == "\"" || e == "\\" || e == "/") return e
            if (e == "" || !index("bfnrt", e)) bad = 1
            return "?"
        }
        function string(   out, c, e) {
            s = substr(s, 2)
            while (!bad && match(s, /["\\]/)) {
                out = out substr(s, 1, RSTART - 1)
                c = substr(s, RSTART, 1)
                if (c == "\"") { s = substr(s, RSTART + 1); gsub(/[\001-\037\177]/, "?", out); return out }
                e = substr(s, RSTART + 1, 1)
                out = out escaped(e)
                s = substr(s, RSTART + (e == "u" ? 6 : 2))
            }
            bad = 1
        }
        function row(   i, line) {
            for (i = 1; i <= n_names; i++) line = line (i > 1 ? "\t" : "") member[names[i]]
            text = text line "\n"
        }
        function members(depth,   key) {
            if (depth == level) split("", member)
            take()
            if (next_is("}")) { take(); if (depth == level) row(); return }
            while (!bad) {
                if (!next_is("\"")) { bad = 1; return }
                key = string()
                if (!next_is(":")) { bad = 1; return }
                take()
                value(depth + 1, depth == level ? key : "")
                if (next_is(",")) { take(); continue }
                if (!next_is("}")) { bad = 1; return }
                take()
                if (depth == level) row()
                return
            }
        }
        function elements(depth) {
            take()
            if (next_is("]")) { take(); return }
            while (!bad) {
                value(depth + 1, "")
                if (next_is(",")) { take(); continue }
                if (!next_is("]")) bad = 1
                take()
                return
            }
        }
        function value(depth, key,   v) {
            if (depth > 32) { bad = 1; return }
            if (next_is("{")) { members(depth); return }
            if (next_is("[")) { elements(depth); return }
            if (next_is("\"")) v = string()
            else if (match(s, /^[-+.0-9A-Za-z]+/)) { v = substr(s, 1, RLENGTH); s = substr(s, RLENGTH + 1); if (v == "null") v = "" }
            else bad = 1
            if (key != "") member[key] = v
        }
        BEGIN { n_names = split(columns, names, " ") }
        { s = s $0 "\n" }
        END {
            level = next_is("[") ? 2 : 1
            value(1, "")
            if (bad || !next_is("")) exit 1
            printf "%s", text
        }'
}

# member NAME: that member of the answer, or nothing.
member() {
    json_rows "$1" <<EOF
$body
EOF
}

percent_encoded() { printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g'; }

# ---- the token, and whose it is

# keep FILE TEXT: the file is there whole or not at all, and nobody else could ever read it.
keep() {
    rm -f "$1.$$"
    cat >"$1.$$" <<EOF || return 1
$2
EOF
    mv -f "$1.$$" "$1"
}

save_token() {
    case $1 in
        *[!A-Za-z0-9._~+/=-]*) fail "The server's answer makes no sense." ;;
    esac
    { mkdir -p "$dir" && chmod 700 "$dir" && keep "$dir/server" "$url" && keep "$dir/token" "$1"; } || fail "Cannot write to $dir."
}

# A token goes to the server that it is from, and to no other.
read_token() {
    token='' server=''
    [ ! -r "$dir/token" ] || IFS= read -r token <"$dir/token" || :
    [ ! -r "$dir/server" ] || IFS= read -r server <"$dir/server" || :
    case $token in
        '' | *[!A-Za-z0-9._~+/=-]*) return 1 ;;
    esac
    [ -z "$server" ] || [ "$server" = "$url" ]
}

need_token() { read_token || not_logged_in; }

# ---- the server

config_line() {
    printf '%s = "' "$1"
    sed 's/[\\"]/\\&/g' <<EOF
$2
EOF
}

# The line with its closing quote: command substitution has taken the newline.
config() { config="$config$(config_line "$1" "$2")\"$nl"; }

# request METHOD PATH [JSON]: -> $body, $code (000: it could not be reached), $type
request() {
    config=
    config url "$url$2"
    config request "$1"
    config header "Accept: ${accept:-application/json}"
    [ -z "$token" ] || config header "Authorization: Bearer $token"
    if [ "$1" != GET ]; then
        config header "Content-Type: application/json"
        config data-binary "${3:-$empty_object}"
    fi
    body=$(curl -q -sS --proto '=http,https' --connect-timeout 10 --max-time 90 -w '\n%{http_code} %{content_type}' -K - <<EOF
$config
EOF
    ) || { code=000 type='' body=''; return; }
    code=${body##*"$nl"}
    body=${body%"$nl"*}
    type=${code#* }
    code=${code%% *}
}

# Ends with a sentence unless the answer is a good one.
must() {
    case $code in
        2??) return ;;
        000) fail "Cannot reach $url" ;;
        401) [ -z "$token" ] || not_logged_in ;;
    esac
    error=$(member error | plain)
    [ -n "$error" ] || error="$url answers $code"
    fail "$error"
}

# ---- commands

login() {
    email=${1-}
    if [ -z "$email" ]; then
        printf 'Email: ' >&2
        IFS= read -r email || fail "An email address is needed."
    fi
    token=
    request POST /auth/login "{\"email\":$(json_string "$email")}"
    must
    given=$(member token)
    if [ -n "$given" ]; then # in development
        save_token "$given"
        echo "Logged in successfully."
    else
        printf 'Magic link sent to %s.\n' "$email" | plain
        echo "Open it, or run: claude-cloud verify TOKEN"
    fi
}

verify() {
    given=${1-}
    if [ -z "$given" ]; then
        printf 'Token: ' >&2
        IFS= read -r given || fail "The token of the magic link is needed."
    fi
    case $given in
        *token=*) given=${given##*token=} given=${given%%[&#]*} ;;
    esac
    token=
    request POST /auth/verify "{\"token\":$(json_string "$given")}"
    must
    given=$(member token)
    [ -n "$given" ] || fail "The server's answer makes no sense."
    save_token "$given"
    echo "Logged in successfully."
}

status() {
    need_token
    request GET /auth/me
    must
    for name in email name plan; do
        shown=$(member "$name" | plain)
        [ -z "$shown" ] || printf '%-8s%s\n' "$name:" "$shown"
    done
    printf '%-8s%s\n' server: "$url"
}

logout() {
    if read_token; then
        request POST /auth/logout
        case $code in
            2?? | 401) ;;
            000) echo "Cannot reach $url: the session goes on there until it expires." >&2 ;;
            *) echo "$url answers $code: the session may go on there until it expires." >&2 ;;
        esac
    fi
    rm -f "$dir/token" "$dir/server" || fail "Cannot remove $dir/token."
    echo "Logged out."
}

# -> $rows: name, status, provider, type and id of all your machines, a line each
machines() {
    need_token
    rows='' after=''
    while :; do
        request GET "/instances?limit=50$after"
        must
        page=$(json_rows "name status provider type id" <<EOF
$body
EOF
        ) || fail "The server's answer makes no sense."
        [ -n "$page" ] || break
        rows="$rows${rows:+$nl}$page"
        [ "$(awk 'END { print NR }' <<EOF
$page
EOF
        )" -ge 50 ] || break
        after="&after=$(percent_encoded "${page##*"	"}")"
    done
}

list() {
    machines
    if [ -z "$rows" ]; then
        echo "You have no machines."
        return
    fi
    { echo "NAME	STATUS	PROVIDER	TYPE	ID"; cat; } <<EOF | plain | awk -F '	' '{ printf "%-24s %-10s %-10s %-8s %s\n", $1, $2, $3, $4, $5 }'
$rows
EOF
}

# -> $id: the machine that is meant, percent-encoded
which_machine() {
    need_token
    if [ -n "${1-}" ]; then
        id=$(percent_encoded "$1")
        return
    fi
    machines
    case $rows in
        '') fail "You have no machines." ;;
        *"$nl"*) fail "Which one? Say its name; claude-cloud list shows them." ;;
    esac
    id=$(percent_encoded "${rows##*"	"}")
}

# change VERB [NAME]
change() {
    which_machine "${2-}"
    request POST "/instances/$id/$1"
    must
    json_rows "name status" <<EOF | plain | awk -F '	' '{ print $1 " is " $2 "." }'
$body
EOF
}

logs() {
    which_machine "${1-}"
    request GET "/instances/$id/logs"
    must
    [ -z "$body" ] || printf '%s\n' "$body"
}

connect() {
    need_token
    where=/connect.sh
    [ -z "${1-}" ] || where="$where?instance=$(percent_encoded "$1")"
    accept=text/x-shellscript
    request GET "$where"
    must
    case $code/$type in
        200/text/x-shellscript | 200/text/x-shellscript\;*) ;;
        *) fail "$url gave no script." ;;
    esac
    # In this shell, with the terminal as its standard input: as an argument of another one all would see what is in it.
    CCHOST_URL=$url CCHOST_TOKEN=$token
    export CCHOST_URL CCHOST_TOKEN
    umask "$old_umask"
    (
        set +u
        set --
        eval "$body"
    )
}

main() {
    old_umask=$(umask)
    umask 077
    url=${CLAUDE_CLOUD_URL:-$default_url}
    url=${url%/}
    token='' body='' accept=''
    command=${1-}
    [ $# -eq 0 ] || shift
    case $command in
        help | --help | -h) usage; exit 0 ;;
        login | verify | connect | status | logout | list | start | stop | logs) ;;
        *) usage >&2; exit 2 ;;
    esac
    case $command in
        status | logout | list) [ $# -eq 0 ] || { usage >&2; exit 2; } ;;
        *) [ $# -le 1 ] || { usage >&2; exit 2; } ;;
    esac
    case $url in
        *[[:space:][:cntrl:]]*) fail "CLAUDE_CLOUD_URL is no URL." ;;
        http://?* | https://?*) ;;
        *) fail "CLAUDE_CLOUD_URL is no URL: http:// or https:// expected." ;;
    esac
    [ -n "${HOME-}" ] || fail "HOME is not set."
    command -v curl >/dev/null 2>&1 || fail "curl is needed; please install it."
    dir=$HOME/.claude-cloud
    case $command in
        start | stop) change "$command" "$@" ;;
        *) "$command" "$@" ;;
    esac
}

main "$@"
