#!/bin/sh
# setup.sh - what makes a plain Ubuntu or Debian a machine of cchost: git, mosh, Node.js, Claude Code, Zellij, the user claude.
#
# Safe to run again: each tool is looked for before it is installed, and nothing is overwritten that somebody may have changed.
# The Dockerfile beside it runs all of it; hetzner/server-setup.sh and boot.sh run what needs no download (layout, session), and
# leave it in /usr/local/share/cchost, for the rest (hetzner's setting `install`). The texts that it puts down are in parts/, which NixOS reads, too. Needs root.
#
#   --skip TOOL[,TOOL]   leave these out, and say so: for places from which they cannot be downloaded
#   --only TOOL[,TOOL]   nothing but these         --list   the tools that there are, in their order
#   ZELLIJ_VERSION, CLAUDE_CODE_VERSION   which; ZELLIJ_SHA256: its archive's sum, checked when it is set
set -eu

tools='base user node claude zellij layout session'
skip='' only=''

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }
listed() { case ",$1," in *",$2,"*) return 0 ;; *) return 1 ;; esac; }

while [ $# -gt 0 ]; do
    case $1 in
        --skip) skip=${2:?--skip: tools expected}; shift ;;
        --only) only=${2:?--only: tools expected}; shift ;;
        --list) printf '%s\n' "$tools"; exit 0 ;;
        *) die "unknown argument $1 (--skip, --only, --list)" ;;
    esac
    shift
done
for word in $(printf '%s,%s' "$skip" "$only" | tr ',' ' '); do
    case " $tools " in *" $word "*) ;; *) die "there is no tool $word: $tools" ;; esac
done
[ "$(id -u)" = 0 ] || die 'only root can do this'
here=$(cd "$(dirname "$0")" && pwd)
for parts in "$here/parts" "$here/nixos/parts"; do [ ! -d "$parts" ] || break; done
[ -d "$parts" ] || die "its parts are not beside it: $here/parts"

# packages PACKAGE...: those that are not there yet.
packages() {
    missing=''
    for p in "$@"; do
        dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
    done
    [ -n "$missing" ] || return 0
    say "installing$missing"
    apt-get -o DPkg::Lock::Timeout=300 -qq update
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq install -y --no-install-recommends $missing >/dev/null
}

tool_base() {
    packages ca-certificates curl git less locales-all mosh openssh-client procps tmux
}

# No way to root: root of a container is closer to its host than a user needs to be.
tool_user() {
    getent group claude >/dev/null || groupadd --gid 1000 claude 2>/dev/null || groupadd claude
    if ! getent passwd claude >/dev/null; then
        if getent passwd 1000 >/dev/null; then useradd --create-home --gid claude --shell /bin/bash claude
        else useradd --create-home --uid 1000 --gid claude --shell /bin/bash claude; fi
    fi
    mkdir -p /claude-data
    [ "$(stat -c %U /claude-data)" = claude ] || chown claude:claude /claude-data
}

tool_node() {
    if has node && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 18 ]; then return 0; fi
    packages nodejs npm
    [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 18 ] || die "Node.js $(node --version) is too old for Claude Code: 18 is needed"
}

tool_claude() {
    has claude || npm install --global --silent "@anthropic-ai/claude-code${CLAUDE_CODE_VERSION:+@$CLAUDE_CODE_VERSION}"
}

tool_zellij() {
    has zellij && return 0
    version=${ZELLIJ_VERSION:-0.41.2}
    url="https://github.com/zellij-org/zellij/releases/download/v$version/zellij-$(uname -m)-unknown-linux-musl.tar.gz"
    at=$(mktemp -d)
    curl -fsSL -o "$at/zellij.tar.gz" "$url" || die "Zellij could not be downloaded ($url); --skip zellij leaves it out"
    if [ -n "${ZELLIJ_SHA256:-}" ]; then
        printf '%s  %s\n' "$ZELLIJ_SHA256" "$at/zellij.tar.gz" | sha256sum -c - >/dev/null || die 'the archive of Zellij is not the one that was meant'
    fi
    tar -xzf "$at/zellij.tar.gz" -C "$at" zellij
    install -m 0755 "$at/zellij" /usr/local/bin/zellij
    rm -rf "$at"
}

# mine NAME: a program of ours, as it is here; what has not changed is left alone.
mine() {
    cmp -s "$parts/$1" "/usr/local/bin/$1" && [ -x "/usr/local/bin/$1" ] && return 0
    mkdir -p /usr/local/bin
    cp "$parts/$1" "/usr/local/bin/.$1.new"
    chmod 0755 "/usr/local/bin/.$1.new"
    mv "/usr/local/bin/.$1.new" "/usr/local/bin/$1"
}

# theirs NAME PATH: into the user's home, only where there is none, for it is his to change; and by himself, as what stands
# in the way may be a link of his.
theirs() {
    su -s /bin/sh claude -c "umask 022; cd && { [ -e '$2' ] || { mkdir -p '${2%/*}' && cat >'$2'; }; }" <"$parts/$1" || say "not put into place: $2"
}

tool_layout() {
    theirs layout.kdl .config/zellij/layouts/claude.kdl
    theirs config.kdl .config/zellij/config.kdl
    mine claude-pane
}

# What the machine runs at each start: a session that waits for whoever comes. It is called claude, as the terminal's own.
tool_session() {
    mine claude-session
}

for tool in $tools; do
    if [ -n "$only" ] && ! listed "$only" "$tool"; then continue; fi
    if listed "$skip" "$tool"; then
        say "skipped, as asked: $tool"
        continue
    fi
    "tool_$tool"
done
say 'done'
