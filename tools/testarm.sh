#!/usr/bin/env bash
# Builds the agent for 32-bit and 64-bit ARM and runs it under qemu-user: its version,
# its key, and the check of a right and of a wrong configuration. It takes the build
# tags.
set -euo pipefail
tags=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# emulator finds one of qemu-user's programs, the static ones too.
emulator() {
  command -v "qemu-$1" || command -v "qemu-$1-static" || {
    echo "testarm: neither qemu-$1 nor qemu-$1-static is installed: apt-get install qemu-user" >&2
    exit 1
  }
}

# want runs the agent and compares its exit code.
want() {
  local code=0
  "${agent[@]}" "${@:2}" >"$dir/out" 2>&1 || code=$?
  if [ "$code" != "$1" ]; then
    echo "testarm: on $arch, fleet-agent ${*:2} ends with $code, not with $1: $(cat "$dir/out")" >&2
    exit 1
  fi
}

for arch in arm arm64; do
  case $arch in
    arm) qemu=$(emulator arm) ;;
    arm64) qemu=$(emulator aarch64) ;;
  esac
  GOOS=linux GOARCH=$arch GOARM=7 CGO_ENABLED=0 go build -trimpath -tags "$tags" -o "$dir/fleet-agent" ./agent/cmd/fleet-agent
  agent=("$qemu" "$dir/fleet-agent")
  key="$dir/$arch-key.json"
  want 0 --version
  echo "fleet-agent $(head -n 1 "$dir/out") runs on $arch"
  want 3 key show --key-file "$key"
  want 0 key create --key-file "$key"
  grep -q 'BEGIN PUBLIC KEY' "$dir/out"
  want 0 key adopt --key-file "$key" --key-id 1 --user-id pi-01 --expires 2120-01-01T00:00:00Z
  want 0 key show --key-file "$key"
  cat >"$dir/config.toml" <<TOML
device_id = "pi-01"
[nats]
url = "tls://nats.example.org:4222"
[auth]
mode = "zitadel-jwt"
issuer = "https://auth.example.org"
project_id = "1"
key_file = "$key"
TOML
  want 0 config check --config "$dir/config.toml"
  echo 'unknown = 1' >"$dir/config.toml"
  want 78 config check --config "$dir/config.toml"
  want 78 --config "$dir/config.toml"
done
