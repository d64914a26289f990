#!/usr/bin/env bash
# context.sh DIR: what `docker build` needs for the container (Containerfile), put into DIR, which is made anew.
set -euo pipefail
to=$(realpath -m "$1")
cd "$(dirname "$0")"
rm -rf "$to"
mkdir -p "$to"
cp Containerfile cchost.lua "$to"
../deb/build.sh "$to/cchost.deb" >/dev/null
