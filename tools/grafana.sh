#!/usr/bin/env bash
# Makes the dashboards, the rules and the provisioning files of deploy/grafana.
set -euo pipefail
cd "$(dirname "$0")/.."
CGO_ENABLED=0 go run -trimpath ./deploy/grafana/generate
