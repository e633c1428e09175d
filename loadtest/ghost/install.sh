#!/usr/bin/env bash
# Installs what this test runs - Ghost with its Node, MariaDB, nginx and pebble - from npm and Debian alone.
# The second run finds everything in place and takes no time. Prints the folder of Ghost; the cache has what else there is beside it.
#
#   install.sh [--browser] [VERSION]   Ghost's version; several lie side by side
#   --browser              Chromium too, what it is driven with, and Ghost's portal, which Ghost itself does not carry
#   GHOSTPIN_GHOST_CACHE   where it goes (default: loadtest/.cache/ghost, about 0.9 GB, 0.6 GB more for each other Ghost)
set -euo pipefail

NODE_VERSION=22.23.3      # all of these Ghosts run on Node 22
# Ghost, and the pnpm that its package.json names. `npm install ghost` fails on what Ghost carries as file:components/*.tgz.
declare -A PNPM_VERSION_FOR=(
    [6.65.0]=12.4.2
    [6.56.0]=11.15.1      # one of the last that keep all addresses in memory, see docs/ghost.md
)
PLAYWRIGHT_VERSION=1.65.1
browser=
if [ "${1:-}" = --browser ]; then
    browser=yes
    shift
fi
GHOST_VERSION=${1:-6.65.0}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${GHOSTPIN_GHOST_CACHE:-$here/../.cache/ghost}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

fail() { echo "install.sh: $*" >&2; exit 1; }
say() { echo "install.sh: $*" >&2; }
PNPM_VERSION=${PNPM_VERSION_FOR[$GHOST_VERSION]-}
[ -n "$PNPM_VERSION" ] || fail "Ghost $GHOST_VERSION is not known here; ${!PNPM_VERSION_FOR[*]} are"

# --- Debian's part: nothing is started, a test brings up its own database and nginx in a folder of its own.
export PATH=$PATH:/usr/sbin:/sbin
missing=()
command -v npm >/dev/null || missing+=(nodejs npm)
command -v nginx >/dev/null || missing+=(nginx-light)
command -v pebble >/dev/null || missing+=(pebble)
command -v mariadbd >/dev/null && command -v my_print_defaults >/dev/null || missing+=(mariadb-server-core mariadb-client-core)
if [ "$browser" ]; then
    [ -x /usr/bin/chromium ] || missing+=(chromium)
    command -v certutil >/dev/null || missing+=(libnss3-tools)
fi
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || fail "missing: ${missing[*]}. Install them; this script can only do so with apt-get."
    as_root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || fail "missing: ${missing[*]}. Run as root: apt-get install --no-install-recommends ${missing[*]}"
        as_root=(sudo)
    fi
    say "apt-get install ${missing[*]}"
    # Debian starts nginx when it is installed; on a machine that has none yet, it shall not stay behind, nor take port 80.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
        "${as_root[@]}" chmod +x $policy
        trap '"${as_root[@]}" rm -f $policy' EXIT
    fi
    { "${as_root[@]}" apt-get update && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } >"$cache/apt.log" 2>&1 ||
        fail "apt-get failed; the end of $cache/apt.log: $(tail -n 3 "$cache/apt.log")"
fi

# --- npm's part: Node and pnpm, each in a folder of its own, since one Node is for all Ghosts and pnpm is not.
case $(uname -m) in
x86_64) arch=x64 ;;
aarch64) arch=arm64 ;;
*) fail "no Node package is known for $(uname -m)" ;;
esac
from_npm() { # NAME VERSION PACKAGE
    local folder=$cache/$1-$2
    [ ! -e "$folder/.complete" ] || return 0
    say "$1 $2"
    rm -rf "$folder"
    mkdir -p "$folder"
    echo '{"private": true}' >"$folder/package.json"
    (cd "$folder" && npm install --no-audit --no-fund --ignore-scripts "$3@$2") >"$cache/$1.log" 2>&1 ||
        fail "npm failed; the end of $cache/$1.log: $(tail -n 3 "$cache/$1.log")"
    touch "$folder/.complete"
}
from_npm node "$NODE_VERSION" "node-linux-$arch"
from_npm pnpm "$PNPM_VERSION" pnpm
node=$cache/node-$NODE_VERSION/node_modules/node-linux-$arch/bin/node
pnpm=$cache/pnpm-$PNPM_VERSION/node_modules/pnpm/bin/pnpm.mjs
"$node" --version >/dev/null || fail "$node does not run here"

# --- npm's part: Ghost, with the versions that its own lockfile names. No install script is run: the only one of weight
# builds SQLite's binding, and the database here is MariaDB.
ghost=$cache/ghost-$GHOST_VERSION
if [ ! -e "$ghost/.complete" ]; then
    say "Ghost $GHOST_VERSION with its 1,100 packages (half a minute, or up to five on a slow line)"
    rm -rf "$ghost"
    mkdir -p "$ghost"
    {
        (cd "$cache" && npm pack --silent "ghost@$GHOST_VERSION") &&
            tar -xzf "$cache/ghost-$GHOST_VERSION.tgz" --strip-components=1 -C "$ghost" &&
            rm "$cache/ghost-$GHOST_VERSION.tgz" &&
            cd "$ghost" &&
            PATH="$(dirname "$node"):$PATH" CI=true timeout 600 "$node" "$pnpm" install \
                --prod --frozen-lockfile --ignore-scripts --store-dir "$cache/pnpm-store"
    } >"$ghost.log" 2>&1 || fail "Ghost could not be installed; the end of $ghost.log: $(tail -n 5 "$ghost.log")"
    rm -rf "$cache/pnpm-store" # hard links: Ghost keeps its own
    touch "$ghost/.complete"
fi

if [ "$browser" ]; then
    portal=$("$node" -p "require('$ghost/core/shared/config/defaults.json').portal.version") # what this Ghost asks for
    from_npm playwright-core "$PLAYWRIGHT_VERSION" playwright-core
    from_npm portal "$portal" @tryghost/portal
    ln -sfn "playwright-core-$PLAYWRIGHT_VERSION/node_modules/playwright-core" "$cache/playwright-core"
    ln -sfn "portal-$portal/node_modules/@tryghost/portal/umd/portal.min.js" "$cache/portal.min.js"
fi

ln -sfn "$node" "$cache/node"
say "Ghost $GHOST_VERSION, Node $("$node" --version), $(mariadbd --version | grep -o '[0-9.]*-MariaDB') in $cache"
echo "$ghost"
