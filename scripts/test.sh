#!/usr/bin/env bash
# The one command that passes every test. The quick checks come first; go test's own lines close the output.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

step format
unformatted=$(find . -name '*.go' -not -name '*.pb.go' -not -path '*/node_modules/*' -not -path './data/*' -exec gofmt -l {} +)
if [ -n "$unformatted" ]; then
	printf 'not formatted by gofmt:\n%s\n' "$unformatted"
	exit 1
fi

step vet
go vet ./...

step lint
scripts/lint.sh

step 'Postgres, Consul and an S3 server for the tests'
scripts/postgres.sh
scripts/consul.sh
scripts/s3.sh

step 'Chromium for the tests of the console'
scripts/chromium.sh

if [ -f tests/js/package-lock.json ]; then
	step 'packages of the JavaScript tests'
	(cd tests/js && npm ci --no-audit --no-fund)
fi

step 'the program that tests run'
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
go build -o "$folder/matrixon" ./cmd/matrixon
export TEST_MATRIXON_PROGRAM=$folder/matrixon

step 'rooms shared with Synapse, the reference homeserver'
if timeout 5m scripts/synapse.sh; then
	go test -tags interop -count 1 -p 1 -timeout 10m ./tests/federation ./tests/js -run TestSynapse
else
	echo 'Synapse cannot be installed here: that rooms are shared with it is not tested.'
fi

step tests
# -count 1: many tests build and run the program itself, of which go test's cache knows nothing.
go test -race -p 2 -count 1 -timeout 20m "$@" ./...
