# What an enrolment left on a device, in one go. Nothing is changed. Each answer is a line
# with its name and its size in bytes, and then its text.
LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
emit() { printf '%s %s\n%s\n' "$1" "${#2}" "$2"; }
there() { command -v "$1" >/dev/null 2>&1; }

echo @@fleet-probe@@
emit machine "$(uname -m)"
if [ -f /etc/fleet-agent/config.toml ]; then
  size=$(wc -c </etc/fleet-agent/config.toml | tr -d ' ')
  printf '%s %s\n' config "$size"
  cat /etc/fleet-agent/config.toml
  printf '\n'
fi
key=/etc/fleet-agent/zitadel-key.json
[ -f "$key" ] && emit key_user "$(sed -n 's/.*"userId"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p' "$key" | head -n 1)"
for path in /usr/local/bin/fleet-agent /etc/systemd/system/fleet-agent.service /etc/systemd/system/fleet-agent.service.d \
  /etc/fleet-agent /var/lib/fleet-agent /run/fleet-enroll.restart /usr/local/bin/.fleet-agent.fleet-new; do
  [ -e "$path" ] && emit path "$path"
done
if [ -s /var/lib/dpkg/status ] && there dpkg-query; then
  state=$(dpkg-query -W -f '${db:Status-Status} ${Version}' fleet-agent 2>/dev/null)
  case $state in "installed "*) emit package "deb ${state#installed }" ;; esac
elif there rpm; then
  state=$(rpm -q --qf '%{VERSION}-%{RELEASE}' fleet-agent 2>/dev/null) && emit package "rpm $state"
fi
if [ -d /run/systemd/system ] && there systemctl; then
  emit service "$(systemctl show -p LoadState -p ActiveState -p UnitFileState fleet-agent.service 2>/dev/null)"
fi
if there podman; then
  if said=$(podman ps -a --filter label=io.nationtech.fleet.device --format json 2>/dev/null); then
    emit containers "$said"
  else
    emit podman_fails "$(podman ps 2>&1 | tail -n 1)"
  fi
  emit volumes "$(podman volume ls --format '{{.Name}}' 2>/dev/null)"
fi
[ -d /var/lib/fleet-agent/containers ] && emit recorded "$(ls /var/lib/fleet-agent/containers)"
exit 0
