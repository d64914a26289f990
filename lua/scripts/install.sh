#!/bin/sh
# Installs claude-cloud: curl -fsS URL/install.sh | sh
# Everything is in functions, called in the last line: a part of this file does nothing.
set -u

base_url=http://localhost:8080

fail() {
    echo "claude-cloud is not installed: $1" >&2
    exit 1
}

in_path() {
    case ":$PATH:" in
        *":$1:"*) return 0 ;;
    esac
    return 1
}

# -> $dir: the user's own folder when commands are found there, else the machine's when we may, else the user's.
choose_folder() {
    dir=$HOME/.local/bin
    if ! in_path "$dir" && [ -w /usr/local/bin ] && in_path /usr/local/bin; then dir=/usr/local/bin; fi
    mkdir -p "$dir" 2>/dev/null || fail "$dir cannot be made."
    [ -w "$dir" ] || fail "$dir cannot be written to."
}

# What came is a whole program, and no page of a proxy's.
is_whole() {
    IFS= read -r first <"$1" || return 1
    [ "$first" = '#!/bin/sh' ] && [ "$(tail -n 1 "$1")" = 'main "$@"' ]
}

main() {
    [ -n "${HOME-}" ] || fail "HOME is not set."
    command -v curl >/dev/null 2>&1 || fail "curl is needed; please install it."
    choose_folder
    new=$dir/.claude-cloud.$$
    trap 'rm -f "$new"' EXIT
    trap 'exit 1' HUP INT TERM
    curl -q -fsS --proto '=http,https' --connect-timeout 10 --max-time 60 -o "$new" "$base_url/cli/claude-cloud" ||
        fail "$base_url/cli/claude-cloud cannot be fetched."
    is_whole "$new" || fail "$base_url gave something else."
    { chmod 755 "$new" && mv -f "$new" "$dir/claude-cloud"; } || fail "$dir/claude-cloud cannot be written."
    echo "claude-cloud is installed: $dir/claude-cloud"
    if ! in_path "$dir"; then
        echo "Your shell does not look there for commands yet. Add this to its profile:"
        echo "  export PATH=\"$dir:\$PATH\""
    elif [ "$(command -v claude-cloud)" != "$dir/claude-cloud" ]; then
        echo "Another one comes first in your PATH: $(command -v claude-cloud)"
    fi
    echo "Next: claude-cloud login"
}

main "$@"
