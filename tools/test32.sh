#!/usr/bin/env bash
# Runs the tests of the pure packages with 32-bit integers, as many devices have
# them. A kernel that runs no 32-bit program has QEMU run them: apt-get install
# qemu-user. QEMU 7 does not survive the signals by which Go preempts a goroutine.
set -euo pipefail
cd "$(dirname "$0")/.."
export GOARCH=386 CGO_ENABLED=0
flags=(-trimpath -timeout 20m -tags "$1")

probe="$(mktemp -d)"
trap 'rm -rf "$probe"' EXIT
printf 'package main\n\nfunc main() {}\n' >"$probe/main.go"
go build -o "$probe/probe" "$probe/main.go"
if ! "$probe/probe" 2>/dev/null; then
  command -v qemu-i386 >/dev/null || { echo "this kernel runs no 32-bit programs: apt-get install qemu-user" >&2; exit 1; }
  export GODEBUG=asyncpreemptoff=1
  flags+=(-exec qemu-i386)
fi

go test "${flags[@]}" ./eventlog ./eventlog/plainjson ./eventlog/score
# Of these two packages the tests that start no server.
go test "${flags[@]}" -run 'TestAPlaceIs|OnlyAnother' ./eventlog/reader ./eventlog/appender
go test "${flags[@]}" ./projections/fleet -rapid.checks=20
go test "${flags[@]}" ./agent/plan ./deploy/packages/pkgfile
