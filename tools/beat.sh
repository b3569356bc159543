#!/usr/bin/env bash
# Runs a command, and says each half minute that it still runs.
# Usage: beat.sh MESSAGE COMMAND [ARGUMENT...]
set -euo pipefail
message=$1
shift
( while sleep 30; do echo "  … $message"; done ) &
beat=$!
trap 'kill "$beat" 2>/dev/null || true' EXIT
"$@"
