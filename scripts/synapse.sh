#!/usr/bin/env bash
# Prints the folder of a Debian system with Synapse in it, the reference homeserver, which the interoperability test runs as a peer. It is made
# once in the user's cache (a minute or two, 700 MB), by root, from the Debian mirror that this machine is configured for.
set -euo pipefail

dir=${XDG_CACHE_HOME:-$HOME/.cache}/matrixon/synapse-sid
if [ -e "$dir/installed" ]; then
	echo "$dir"
	exit
fi
[ "$(id -u)" = 0 ] || { echo "Synapse is installed in a chroot, which takes root." >&2; exit 1; }
command -v debootstrap >/dev/null || apt-get install -y debootstrap >&2
# Which of the files there are differs from one Debian to the next.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/debian* 2>/dev/null | sed -nE 's/^URIs: *//p; s/^deb (\[[^]]*\] *)?([^ ]+) .*/\2/p' | head -n 1 || true)
[ -n "$mirror" ] || { echo "This is no Debian: apt has no mirror of it." >&2; exit 1; }
echo "Installing Synapse from $mirror into $dir, once. This takes a minute or two." >&2
umount -q "$dir/proc" "$dir/sys" 2>/dev/null || true # of an installation that was broken off
rm -rf "$dir"
mkdir -p "$dir"
debootstrap --variant=minbase sid "$dir" "$mirror" >&2
printf '#!/bin/sh\nexit 101\n' >"$dir/usr/sbin/policy-rc.d" # no service is started
chmod 755 "$dir/usr/sbin/policy-rc.d"
echo '127.0.0.1 localhost' >"$dir/etc/hosts"
chroot "$dir" sh -c 'export DEBIAN_FRONTEND=noninteractive
	apt-get install -y --no-install-recommends matrix-synapse && apt-get clean' >&2
touch "$dir/installed"
echo "$dir"
