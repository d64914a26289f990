#!/bin/sh
# What a fresh server gets over ssh, as root, each time that it was made: volumes, the agent, the machine's environment and
# command. Before it stand: set -- DEVICE PATH ..., ENV_TEXT, CMD_TEXT, SHELL_TEXT, AGENT_KEY, RING, SESSIONS, ID_TEXT, KEYS_TEXT,
# INSTALL (providers/hetzner/ssh.c). Safe to run again. A NixOS has the units and the user in its configuration
# (providers/image/nixos), and is told the rest.
set -eu
lib=/usr/local/lib/cchost
share=/usr/local/share/cchost
conf=/etc/cchost
: "${ENV_TEXT=}" "${CMD_TEXT=}" "${SHELL_TEXT=}" "${AGENT_KEY=}" "${RING=0}" "${SESSIONS=0}" "${ID_TEXT=}" "${KEYS_TEXT=}"
: "${INSTALL=}"
nixos=
[ ! -e /etc/NIXOS ] || nixos=y

id claude >/dev/null 2>&1 || useradd -m -s /bin/bash claude
home=$(getent passwd claude | cut -d: -f6)
login=$(getent passwd claude | cut -d: -f7)

# NixOS: who it is, who gets in, what is mounted at its own boots.
if [ -n "$nixos" ]; then
  facts=/etc/cloud-instance
  mkdir -p $facts/authorized_keys.d
  printf '%s\n' "$ID_TEXT" >$facts/id
  printf '%s' "$KEYS_TEXT" >$facts/authorized_keys.d/claude
  : >$facts/volumes
  i=0
  for word; do
    i=$((i + 1))
    if [ $((i % 2)) = 1 ]; then printf '%s ' "$word"; else printf '%s\n' "$word"; fi
  done >>$facts/volumes
  hostname "cc-$ID_TEXT"
fi

# Volumes. Hetzner has formatted them; here they are only mounted.
while [ $# -gt 1 ]; do
  mkdir -p "$2"
  n=0
  until mountpoint -q "$2" || mount -o discard "$1" "$2"; do
    n=$((n + 1))
    [ "$n" -lt 20 ] || { echo "cannot mount $1 at $2" >&2; exit 1; }
    sleep 0.5
  done
  [ "$(stat -c %u "$2")" != 0 ] || chown claude: "$2"
  shift 2
done

# What it is to know, for its user alone.
mkdir -p "$conf"
umask 027
printf '%s' "$ENV_TEXT" >"$conf/env"
printf '. %s/env\nexec %s\n' "$conf" "${CMD_TEXT:-true}" >"$conf/cmd"
{
  [ -z "$nixos" ] || echo '. /etc/profile' # where its programs are
  printf '%s\n' "cd '$home'; export HOME='$home' USER=claude LOGNAME=claude SHELL=$login" ". $conf/env"
  printf 'exec %s/cchost-agent --listen /run/cchost/agent/agent.sock --busy /run/cchost/busy.sock' "$lib"
  [ -z "$SHELL_TEXT" ] || printf ' --shell "$SHELL_TEXT"'
  [ -z "$AGENT_KEY" ] || printf ' --key %s' "$AGENT_KEY"
  [ "$RING" = 0 ] || printf ' --ring %s' "$RING"
  [ "$SESSIONS" = 0 ] || printf ' --sessions %s' "$SESSIONS"
  echo
} >"$conf/agent"
[ -z "$SHELL_TEXT" ] || printf '%s' "$SHELL_TEXT" >"$conf/shell"
[ -z "$SHELL_TEXT" ] || sed -i "1i SHELL_TEXT=\$(cat $conf/shell)" "$conf/agent"
chgrp -R claude "$conf"
chmod 750 "$conf"
umask 022
[ -n "$nixos" ] || printf '[ ! -r %s/env ] || . %s/env\n' "$conf" "$conf" >/etc/profile.d/cchost.sh
mkdir -p /usr/local/bin
ln -sf "$lib/cchost-agent" /usr/local/bin/cchost-busy
[ -n "$nixos" ] || sh $share/setup.sh --only layout,session || echo 'the layout could not be put into place' >&2

# The agent, kept running.
if [ -n "$nixos" ]; then
  systemctl restart cchost-agent
elif [ -d /run/systemd/system ]; then
  cp $share/parts/cchost-agent.service /etc/systemd/system/cchost-agent.service
  systemctl daemon-reload
  systemctl enable --quiet cchost-agent
  systemctl restart cchost-agent
else
  mkdir -p /run/cchost/agent
  chown -R claude: /run/cchost
  [ ! -s /run/cchost.pid ] || kill "$(cat /run/cchost.pid)" 2>/dev/null || :
  setsid sh -c 'echo $$ >/run/cchost.pid; while :; do runuser -u claude -- sh '"$conf"'/agent; sleep 1; done' \
    >/dev/null 2>&1 </dev/null &
fi
n=0
until [ -S /run/cchost/agent/agent.sock ]; do
  n=$((n + 1))
  [ "$n" -lt 100 ] || { echo "the agent does not start" >&2; exit 1; }
  sleep 0.1
done

# The command, once after each start.
boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo none)
if [ -n "$CMD_TEXT" ] && [ "$(cat $conf/ran 2>/dev/null)" != "$boot" ]; then
  echo "$boot" >"$conf/ran"
  (cd "$home" && HOME=$home USER=claude LOGNAME=claude setsid runuser -u claude -- sh "$conf/cmd" \
    >"$home/.cmd.log" 2>&1 </dev/null &)
fi

# The tools that it has not yet, where that is asked for: nobody waits for them.
if [ -n "$INSTALL" ] && [ -z "$nixos" ]; then
  setsid sh $share/setup.sh >/var/log/cchost-setup.log 2>&1 </dev/null &
fi
