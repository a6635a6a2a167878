#!/usr/bin/env bash
# Generates messages/*.pb.go with protoc (Debian: protobuf-compiler) and the protoc-gen-go of the version that go.mod names.
set -euo pipefail
cd "$(dirname "$0")/../messages"

plugin=$(mktemp -d)
trap 'rm -rf "$plugin"' EXIT
go build -o "$plugin/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go
protoc --plugin="$plugin/protoc-gen-go" --go_out=. --go_opt=paths=source_relative ./*.proto
