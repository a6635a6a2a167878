#!/usr/bin/env bash
# Prints the path of a Chromium, and installs Debian's first if there is none.
set -euo pipefail

for name in chromium chromium-browser google-chrome google-chrome-stable; do
	if command -v "$name"; then
		exit
	fi
done
echo "There is no Chromium here: installing Debian's chromium." >&2
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium >&2
command -v chromium
