#!/bin/bash
# Runs a node until its standard input ends, and then takes all of it away, its state
# too. It reads "on" and "off", for the power, and answers each with a line: with the
# process id of the node's first process, and with "off". It has a session of its own,
# so that it outlives a test process that is killed.
#
# Its environment: NODE, STATE, NETWORK, ADDRESS, GATEWAY, LINK, METRIC, and PATH with
# the node's programs.
set -uo pipefail
trap '' HUP INT TERM
mapfile -t groups < <(find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d ! -name unified)
# The node's addresses must not leave this machine while the node is down.
unreachable=("$NETWORK" 10.244.0.0/16 10.96.0.0/16)
unshare=

power_on() {
  local group first=
  rm -f "$STATE/go"
  for group in "${groups[@]}"; do
    mkdir "$group/$NODE" || fail "no control group"
    if [ -f "$group/cpuset.cpus" ]; then # it takes no process before these are set
      cat "$group/cpuset.cpus" >"$group/$NODE/cpuset.cpus"
      cat "$group/cpuset.mems" >"$group/$NODE/cpuset.mems"
      echo 1 >"$group/$NODE/cgroup.clone_children"
    fi
  done
  (
    for group in "${groups[@]}"; do echo $BASHPID >"$group/$NODE/cgroup.procs" || exit 1; done
    exec setpriv --pdeathsig KILL unshare --mount --net --pid --cgroup --uts --ipc --fork --kill-child --propagation private \
      bash "$STATE/node.sh" </dev/null >>"$STATE/log/node.log" 2>&1
  ) &
  unshare=$!
  for _ in {1..200}; do # the one child is unshare's: what comes before it has none
    first=$(tr -d ' ' </proc/$unshare/task/$unshare/children 2>/dev/null)
    [ -n "$first" ] && break
    sleep 0.05
  done
  [ -n "$first" ] || fail "no process: $(tail -n 3 "$STATE/log/node.log")"
  ip link add "$LINK" type veth peer name eth0 netns "$first" &&
    ip address add "$GATEWAY/30" dev "$LINK" && ip link set "$LINK" up || fail "no link"
  touch "$STATE/go"
  echo "$first"
}

power_off() {
  if [ -n "$unshare" ]; then
    kill -9 "$unshare" 2>/dev/null # its child, the node's first process, dies with it
    wait "$unshare" 2>/dev/null
    unshare=
  fi
  local group
  for group in "${groups[@]}"; do
    # What is left in there are the node's processes, which are on their way out.
    for _ in {1..200}; do
      [ -d "$group/$NODE" ] || break
      find "$group/$NODE" -depth -type d -exec rmdir {} + 2>/dev/null && break
      find "$group/$NODE" -name cgroup.procs -exec cat {} + 2>/dev/null | xargs -r kill -9 2>/dev/null
      sleep 0.05
    done
  done
  ip link delete "$LINK" 2>/dev/null
}

clear_away() {
  power_off
  local route
  for route in "${unreachable[@]}"; do ip route delete unreachable "$route" metric "$METRIC" 2>/dev/null; done
}

fail() {
  echo "start the node $NODE: $1" >&2
  clear_away
  exit 1
}

clear_away # what a launcher left behind that was killed itself
for route in "${unreachable[@]}"; do ip route add unreachable "$route" metric "$METRIC" || fail "no route"; done
while read -r order; do
  case $order in
    on) power_on ;;
    off) power_off; echo off ;;
  esac
done
clear_away
rm -rf "$STATE"
