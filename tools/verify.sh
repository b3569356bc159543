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
tools/grafana.sh
tools/chart.sh
for m in eventlog projections crds callout agent operator deploy deploy/grafana/promtest; do
  ( cd "$m" && GOWORK=off go mod tidy -diff )
done
# kubeapi is a module outside the workspace. What both make Kubernetes' clients of
# is of one version, or a first build compiles them twice.
clients=(k8s.io/client-go/kubernetes k8s.io/client-go/dynamic k8s.io/client-go/informers k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset)
versions() { go list -deps -f '{{with .Module}}{{.Path}} {{if .Replace}}{{.Replace.Version}}{{else}}{{.Version}}{{end}}{{end}}' "${clients[@]}" | sort -u; }
apart=$(join <(cd deploy && versions) <(cd deploy/kubeapi && GOWORK=off versions) |
  awk '$2 != $3 { print $1 ": " $2 " here, " $3 " in deploy/kubeapi" }')
if [ -n "$apart" ]; then
  printf 'verify: modules of two versions; `go get` the newer in the module that has the older:\n%s\n' "$apart" >&2
  exit 1
fi
after=$(state)
if [ "$before" != "$after" ]; then
  echo "verify: generated files were not up to date; run: make generate" >&2
  git --no-pager diff --stat >&2
  exit 1
fi
echo "verify: what is generated is what the sources say"
