#!/bin/sh
# Joins this machine to its owner's network at Netbird. cloud-init runs it at the first boot, or the host by exec; a machine that
# has joined already is left as it is. The key is good once. Everything is in functions, called in the last line.
set -u

key=''
manager=''
name=''

fail() {
    echo "the network was not joined: $1" >&2
    exit 1
}

install_netbird() {
    command -v curl >/dev/null 2>&1 || fail "netbird is not installed, and neither is curl to fetch it"
    curl -fsSL https://pkgs.netbird.io/install.sh | sh || fail "netbird could not be installed"
}

# Where no init system keeps its service, it runs by itself.
run_service() {
    netbird status >/dev/null 2>&1 && return
    setsid netbird service run </dev/null >/dev/null 2>&1 &
    tries=0
    until netbird status >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -le 20 ] || fail "netbird's service does not run"
        sleep 0.5
    done
}

# The key goes by a file that nobody else can read: as an argument all could see it.
join() {
    umask 077
    dir=$(mktemp -d) || fail "there is no place for its key"
    trap 'rm -rf "$dir"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '%s\n' "$key" >"$dir/key"
    netbird up ${manager:+--management-url "$manager"} --hostname "$name" --setup-key-file "$dir/key" || fail "netbird up failed"
}

main() {
    command -v netbird >/dev/null 2>&1 || install_netbird
    run_service
    join
}

main "$@"
