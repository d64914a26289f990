#!/bin/sh
# What nixos-anywhere finds as "ssh" (providers/hetzner/nixos.c): OpenSSH's client, which takes no host key but the one that is
# pinned. The first word about an option counts, so what follows here, StrictHostKeyChecking=no among it, changes nothing.
PATH=$CCHOST_PATH
export PATH
exec "$CCHOST_SSH" -F /dev/null -o BatchMode=yes -o IdentityAgent=none -o StrictHostKeyChecking=yes \
  -o "UserKnownHostsFile=$CCHOST_KNOWN_HOSTS" -o GlobalKnownHostsFile=/dev/null -o "HostKeyAlias=$CCHOST_HOST" -o UpdateHostKeys=no \
  -o VerifyHostKeyDNS=no -o CheckHostIP=no -o PreferredAuthentications=publickey -o ControlPath=none -o ConnectTimeout=10 \
  -o ServerAliveInterval=15 -o ServerAliveCountMax=3 "$@"
