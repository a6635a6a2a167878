#!/usr/bin/env bash
# Prints the path of an S3 server, versitygw: the one on PATH, else one that is built once into the user's cache (about 3
# minutes). It keeps objects in a folder; it is for development and tests only.
set -euo pipefail
cd "$(dirname "$0")/s3"

version=1.8.0
if command -v versitygw; then
	exit
fi
program=${XDG_CACHE_HOME:-$HOME/.cache}/matrixon/versitygw-$version
if [ ! -x "$program" ]; then
	echo "There is no versitygw on PATH: building $version into $program, once. This takes some minutes." >&2
	mkdir -p "$(dirname "$program")"
	GOFLAGS=-mod=readonly go build -trimpath -ldflags "-s -w" -o "$program.$$" github.com/versity/versitygw/cmd/versitygw >&2
	mv "$program.$$" "$program"
fi
echo "$program"
