#!/usr/bin/env bash
# Fails where what is generated differs from what its sources say, and where a
# module does not build by its own go.mod. $1: build tags.
set -euo pipefail
cd "$(dirname "$0")/.."
# The tree's state is its list of changes and what they are, so that this also
# works on a tree that has some.
state() { git status --porcelain; git diff; }
before=$(state)
crds/hack/generate.sh
tools/clidoc.sh "$1"
for m in eventlog projections crds callout agent operator deploy; do
  ( cd "$m" && GOWORK=off go mod tidy -diff )
done
after=$(state)
if [ "$before" != "$after" ]; then
  echo "verify: generated files were not up to date; run: make generate" >&2
  git --no-pager diff --stat >&2
  exit 1
fi
echo "verify: what is generated is what the sources say"
