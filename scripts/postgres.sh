#!/usr/bin/env bash
# Prints the folder with the Postgres server's programs, and installs Debian's postgresql first if there is none.
set -euo pipefail

find_it() {
	if command -v postgres >/dev/null && command -v initdb >/dev/null; then
		dirname "$(readlink -f "$(command -v initdb)")"
		return
	fi
	ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin 2>/dev/null | sort -V | tail -n 1
}

folder=$(find_it || true)
if [ -z "$folder" ]; then
	echo "There is no Postgres server here: installing Debian's postgresql." >&2
	sudo=
	[ "$(id -u)" = 0 ] || sudo=sudo
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends postgresql >&2
	folder=$(find_it)
fi
echo "$folder"
