#!/usr/bin/env bash
# Makes docs/cli.md out of fleetctl's commands. $1: build tags.
set -euo pipefail
cd "$(dirname "$0")/.."
made=$(mktemp)
trap 'rm -f "$made"' EXIT
CGO_ENABLED=0 go run -trimpath -tags "$1" ./deploy/cmd/fleetctl docs > "$made"
cat "$made" > docs/cli.md
