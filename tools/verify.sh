#!/usr/bin/env bash
# Fails where what is generated differs from what its sources say, and where a
# module does not build by its own go.mod.
set -euo pipefail
cd "$(dirname "$0")/.."
before=$(git status --porcelain)
crds/hack/generate.sh
for m in eventlog projections crds callout agent operator deploy; do
  ( cd "$m" && GOWORK=off go mod tidy -diff )
done
after=$(git status --porcelain)
if [ "$before" != "$after" ]; then
  echo "verify: generated files were not up to date; run: make generate" >&2
  git --no-pager diff --stat >&2
  exit 1
fi
echo "verify: what is generated is what the sources say"
