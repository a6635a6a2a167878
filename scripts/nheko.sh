#!/usr/bin/env bash
# Prints the path of nheko, a desktop client; installs Debian's first if there is none, with a screen that nobody sees, a window
# manager, and what types, clicks and takes pictures there.
set -euo pipefail

missing=
for program in nheko Xvfb openbox xdotool import dbus-run-session; do
	command -v "$program" >/dev/null || missing+=" $program"
done
if [ -n "$missing" ]; then
	echo "There is no$missing here: installing Debian's." >&2
	sudo=
	[ "$(id -u)" = 0 ] || sudo=sudo
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
		nheko xvfb openbox xdotool imagemagick dbus-daemon fonts-dejavu-core >&2
fi
command -v nheko
