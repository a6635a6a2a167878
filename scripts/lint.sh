#!/usr/bin/env bash
# Runs golangci-lint over the packages given (all by default). It is built once through the Go module proxy into a
# cache outside the repository, one folder per version of it and of Go. Programs of the tests that are modules of their own are linted
# apart.
set -euo pipefail
cd "$(dirname "$0")/.."

version=v2.15.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/matrixon
dir=$cache/golangci-lint/$version-$(go env GOVERSION)

if [ ! -x "$dir/golangci-lint" ]; then
	echo "building golangci-lint $version, once; this takes minutes" >&2
	mkdir -p "$dir"
	building=$(mktemp -d "$dir/building.XXXXXX")
	trap 'rm -rf "$building"' EXIT
	GOFLAGS='' GOBIN=$building CGO_ENABLED=0 nice go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version"
	mv "$building/golangci-lint" "$dir/golangci-lint"
fi

export GOLANGCI_LINT_CACHE=$cache/golangci-lint/results
lint() { "$dir/golangci-lint" run --concurrency 2 "$@"; }

[ $# -gt 0 ] || set -- ./... ./tests/appservice/mautrix
ours=()
for folder; do
	if [ -f "$folder/go.mod" ]; then
		(cd "$folder" && lint --build-tags goolm ./...)
	else
		ours+=("$folder")
	fi
done
if [ ${#ours[@]} -gt 0 ]; then
	lint "${ours[@]}"
fi
