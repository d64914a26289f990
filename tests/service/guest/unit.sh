#!/bin/busybox sh
# shellcheck shell=dash
# As systemd starts a cchost-spawner@.service: in a group of its own that is delegated to the unit's user, as that user.
group=/sys/fs/cgroup/machines.slice/unit-$$
mkdir "$group"
chown 900:900 "$group" "$group/cgroup.procs" "$group/cgroup.subtree_control" "$group/cgroup.threads"
echo 0 >"$group/cgroup.procs"
exec /usr/bin/setpriv --reuid=900 --regid=900 --clear-groups /usr/lib/cchost/cchost-spawner /usr/lib/cchost/cchost-launch
