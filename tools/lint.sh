#!/usr/bin/env bash
# Lints every module with the pinned tools: golangci-lint (with depguard, which
# keeps the rule of who may import whom) and gofumpt. $1: build tags.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
bin=$root/bin/tools
mkdir -p "$bin"
# Only eventlog/needs may skip a test, so that FLEET_REQUIRE_ALL makes every skip a
# failure. Scripts of testscript have a command of that name.
skips=$(git grep --untracked -nE '\.(Skip|Skipf|SkipNow)\(' -- '*.go' ':!eventlog/needs/' | grep -v 'buckets\.Skip(' || true)
skips+=$(git grep --untracked -nE '^(\[.*\] *)?skip\b' -- '*/testdata/*.txt' '*/testdata/*.txtar' || true)
if [ -n "$skips" ]; then
  echo "a test may be skipped by eventlog/needs only:" >&2
  echo "$skips" >&2
  exit 1
fi
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
echo "lint: deploy/grafana/promtest"
( cd deploy/grafana/promtest && GOWORK=off CGO_ENABLED=0 "$bin/golangci-lint" run --config "$root/.golangci.yml" ./... ) || status=1
exit $status
