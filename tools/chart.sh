#!/usr/bin/env bash
# Makes the files of the Helm chart that code makes, after deploy/grafana's, and then the
# kustomize base and its overlays from the chart.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0
go run -trimpath ./deploy/chart/generate
go run -trimpath ./deploy/chart/generate --kustomize deploy/kustomize
