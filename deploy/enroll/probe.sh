# What is on a device, in one go. Nothing is changed. The arguments are pairs of a host
# and a port that the device has to reach. Each answer is a line with its name and its
# size in bytes, and then its text.
LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
emit() { printf '%s %s\n%s\n' "$1" "${#2}" "$2"; }
emit_file() {
  [ -f "$2" ] || return 0
  size=$(wc -c <"$2" | tr -d ' ')
  [ "$size" -le 262144 ] || { emit "$1" "(too large)"; return 0; }
  printf '%s %s\n' "$1" "$size"
  cat "$2"
  printf '\n'
}
there() { command -v "$1" >/dev/null 2>&1; }

echo @@fleet-probe@@
emit date "$(date -u +%s)"
emit kernel "$(uname -s)"
emit machine "$(uname -m)"
emit hostname "$(uname -n)"
[ -r /etc/os-release ] && emit os "$(. /etc/os-release && printf '%s' "$PRETTY_NAME")"
[ -d /run/systemd/system ] && there systemctl && emit systemd "$(systemctl --version 2>/dev/null | head -n 1)"
there podman && emit podman "$(podman --version 2>&1 | tail -n 1)"

for dir in /usr/local/bin /etc /var/lib/fleet-agent; do
  while [ ! -d "$dir" ]; do dir=$(dirname "$dir"); done
  emit disk "$(df -Pk "$dir" 2>/dev/null | tail -n 1 | awk '{print $4}') $dir"
  [ -w "$dir" ] || emit readonly "$dir"
done

agent=/usr/local/bin/fleet-agent
if [ -f "$agent" ]; then
  there sha256sum && emit agent_sum "$(sha256sum "$agent" | cut -d ' ' -f 1)"
  emit agent_version "$("$agent" --version 2>/dev/null | head -n 1)"
fi
packaged=/usr/bin/fleet-agent
if [ -f "$packaged" ]; then
  there sha256sum && emit packaged_sum "$(sha256sum "$packaged" | cut -d ' ' -f 1)"
  emit packaged_version "$("$packaged" --version 2>/dev/null | head -n 1)"
fi
# Who installs packages. The agent's depends on the one of Podman. A system whose /usr is
# an image (ostree) takes none at run time.
if [ -e /run/ostree-booted ]; then :
elif [ -s /var/lib/dpkg/status ] && there dpkg-query; then
  emit manager deb
  [ "$(dpkg-query -W -f '${db:Status-Status}' podman 2>/dev/null)" = installed ] && emit podman_packaged yes
  state=$(dpkg-query -W -f '${db:Status-Status} ${Version}' fleet-agent 2>/dev/null)
  case $state in "installed "*) emit package "${state#installed }" ;; esac
elif there rpm && rpm -q rpm >/dev/null 2>&1; then
  emit manager rpm
  rpm -q podman >/dev/null 2>&1 && emit podman_packaged yes
  state=$(rpm -q --qf '%{VERSION}-%{RELEASE}' fleet-agent 2>/dev/null) && emit package "$state"
fi
emit_file config /etc/fleet-agent/config.toml
emit_file ca /etc/fleet-agent/ca.crt
emit_file provider_ca /etc/fleet-agent/provider-ca.crt
emit_file unit /etc/systemd/system/fleet-agent.service
[ -d /etc/fleet-agent ] && emit etc_mode "$(ls -ldn /etc/fleet-agent | awk '{print $1, $3}')"
[ -f /etc/fleet-agent/config.toml ] && emit config_mode "$(ls -ldn /etc/fleet-agent/config.toml | awk '{print $1, $3}')"
key=/etc/fleet-agent/zitadel-key.json
if [ -f "$key" ]; then
  # The names of the key alone: its private half does not leave the device.
  emit key_id "$(sed -n 's/.*"keyId"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p' "$key" | head -n 1)"
  emit key_user "$(sed -n 's/.*"userId"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p' "$key" | head -n 1)"
  emit key_expires "$(sed -n 's/.*"expirationDate"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p' "$key" | head -n 1)"
  emit key_mode "$(ls -ldn "$key" | awk '{print $1, $3}')"
fi
[ -f "$key.pending" ] && emit key_pending yes
[ -e /run/fleet-enroll.restart ] && emit restart_owed yes

if [ -d /run/systemd/system ] && there systemctl; then
  emit service "$(systemctl show -p ActiveState -p SubState -p UnitFileState -p Result -p ExecMainStatus -p InvocationID fleet-agent.service 2>/dev/null)"
  emit podman_socket "$(systemctl show -p LoadState -p ActiveState -p UnitFileState podman.socket 2>/dev/null)"
fi

# Whether a server is reached, by what there is: 0 yes, 124 no answer in time, 127 nothing
# is there to try it with.
reach() {
  if there bash && there timeout; then
    timeout 8 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>&1
  elif there nc; then
    nc -z -w 8 "$1" "$2" 2>&1
  elif there python3; then
    python3 -c 'import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 8)' "$1" "$2" 2>&1
  else
    return 127
  fi
}
while [ $# -ge 2 ]; do
  said=$(reach "$1" "$2")
  code=$?
  emit reach "$1 $2 $code $(printf '%s' "$said" | tail -n 1)"
  shift 2
done
exit 0
