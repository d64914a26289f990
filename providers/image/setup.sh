#!/bin/sh
# setup.sh - what makes a plain Ubuntu or Debian a machine of cchost: git, mosh, Node.js, Claude Code, Zellij, the user claude.
#
# Safe to run again: each tool is looked for before it is installed, and nothing is overwritten that somebody may have changed.
# It runs in the Dockerfile beside it, and by cloud-init on machines that boot a system. Needs root.
#
#   --skip TOOL[,TOOL]   leave these out, and say so: for places from which they cannot be downloaded
#   --only TOOL[,TOOL]   nothing but these         --list   the tools that there are, in their order
#   ZELLIJ_VERSION, NODE_MAJOR, CLAUDE_CODE_VERSION   which; ZELLIJ_SHA256: its archive's sum, checked when it is set
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

# packages PACKAGE...: those that are not there yet.
packages() {
    missing=''
    for p in "$@"; do
        dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
    done
    [ -n "$missing" ] || return 0
    say "installing$missing"
    apt-get -qq update
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >/dev/null
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

# Only where there is none: it is the user's to change.
put() {
    [ ! -e "$1" ] || return 0
    install -d -o claude -g claude "$(dirname "$1")"
    cat >"$1"
    chown claude:claude "$1"
}

# Claude on the left in 70 of 100, a shell on the right. The terminal's own session is called claude.
tool_layout() {
    put /home/claude/.config/zellij/layouts/claude.kdl <<'LAYOUT'
layout {
    pane split_direction="vertical" {
        pane size="70%" name="claude" command="claude-pane"
        pane size="30%" name="shell"
    }
}
LAYOUT
    put /home/claude/.config/zellij/config.kdl <<'CONFIG'
default_layout "claude"
show_startup_tips false
CONFIG
    chown -R claude:claude /home/claude/.config
    # A pane that stays when Claude Code is left, or is not there.
    cat >/usr/local/bin/claude-pane <<'PANE'
#!/bin/sh
cd /claude-data 2>/dev/null || cd
if command -v claude >/dev/null 2>&1; then claude "$@"; else echo 'Claude Code is not installed here.'; fi
exec "${SHELL:-/bin/sh}" -l
PANE
    chmod 0755 /usr/local/bin/claude-pane
}

# What the machine runs at each start: a session that waits for whoever comes, and what the image's health is asked of.
tool_session() {
    cat >/usr/local/bin/claude-session <<'SESSION'
#!/bin/sh
# claude-session         begins the detached session, as the user whose it is
# claude-session health  whether it is there
name=claude
there() {
    if command -v zellij >/dev/null 2>&1; then zellij list-sessions --short 2>/dev/null | grep -qx "$name"
    else tmux has-session -t "$name" 2>/dev/null; fi
}
if [ "${1:-}" = health ]; then
    if [ "$(id -u)" = 0 ]; then exec setpriv --reuid claude --regid claude --init-groups env HOME=/home/claude "$0" health; fi
    there
    exit
fi
there && exit 0
if command -v zellij >/dev/null 2>&1; then exec zellij attach --create-background "$name"; fi
cd /claude-data 2>/dev/null || cd
exec tmux new-session -d -s "$name" claude-pane \; split-window -h -l 30% \; select-pane -L
SESSION
    chmod 0755 /usr/local/bin/claude-session
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
