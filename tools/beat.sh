#!/usr/bin/env bash
# Runs a command, and says each half minute on standard error that it still runs.
# Usage: beat.sh MESSAGE COMMAND [ARGUMENT...]
set -euo pipefail
message=$1
shift
( while sleep 30 >/dev/null 2>&1; do echo "  … $message" >&2; done ) &
beat=$!
trap 'kill "$beat" 2>/dev/null || true' EXIT
"$@"
