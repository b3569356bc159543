#!/usr/bin/env bash
# Makes the files of the Helm chart that code makes, after deploy/grafana's.
set -euo pipefail
cd "$(dirname "$0")/.."
CGO_ENABLED=0 go run -trimpath ./deploy/chart/generate
