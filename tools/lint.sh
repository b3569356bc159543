#!/usr/bin/env bash
# Lints every module with the pinned tools: golangci-lint (with depguard, which
# keeps the rule of who may import whom) and gofumpt. $1: build tags.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
bin=$root/bin/tools
mkdir -p "$bin"
echo "lint: building the pinned tools (minutes the first time)"
( cd tools/lint && GOWORK=off CGO_ENABLED=0 go build -o "$bin/" \
    github.com/golangci/golangci-lint/v2/cmd/golangci-lint mvdan.cc/gofumpt )
unformatted=$(git ls-files '*.go' | grep -v -e '^crds/client/' -e '/zz_generated' | xargs "$bin/gofumpt" -l)
if [ -n "$unformatted" ]; then
  echo "not formatted by gofumpt:" >&2
  echo "$unformatted" >&2
  exit 1
fi
status=0
for m in eventlog projections crds callout agent operator deploy; do
  echo "lint: $m"
  ( cd "$m" && CGO_ENABLED=0 "$bin/golangci-lint" run --config "$root/.golangci.yml" ./... ) || status=1
done
exit $status
