#!/usr/bin/env bash
# Runs the demo in both ways at the same time: with a password for each device, whose
# story is shown as it goes, and with identities, whose story is shown after it. Fails
# where one of them does.
set -uo pipefail
second=$(mktemp)
trap 'rm -f "$second"' EXIT
bin/fleet-dev demo --auth=oidc > "$second" 2>&1 &
pid=$!
bin/fleet-dev demo
first=$?
wait "$pid"
status=$?
printf '\nThe same with identities, over TLS. '
cat "$second"
[ "$first" -eq 0 ] && [ "$status" -eq 0 ]
