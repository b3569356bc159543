package enroll

import (
	"context"
	"fmt"

	"fleet.nationtech.io/deploy/enroll/machine"
	"fleet.nationtech.io/deploy/enroll/unit"
)

// agent is where the device has its agent.
func (w *work) agent() string {
	if wayOf(w.facts, w.known) == byBinary {
		return unit.AgentPath
	}
	return unit.PackagedAgentPath
}

// packagePath is where a package waits to be installed: a directory of root's alone.
const packagePath = configDir + "/.package"

// installScript installs the package $2 by the manager of format $1. A manager that is at
// work already, such as that of unattended upgrades, is waited for. A connection that
// breaks does not break the installation off.
const installScript = `set -u
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C DEBIAN_FRONTEND=noninteractive
trap '' HUP
trap 'rm -f -- "$2"' EXIT
tries=0
while :; do
  case $1 in
  deb) said=$(dpkg -i "$2" 2>&1 </dev/null) && exit 0 ;;
  *) said=$(rpm -U --replacepkgs --oldpackage "$2" 2>&1 </dev/null) && exit 0 ;;
  esac
  tries=$((tries + 1))
  case $said in
  *lock*) [ "$tries" -ge 60 ] || { sleep 2; continue; } ;;
  esac
  printf '%s\n' "$said" | tail -n 5 | tr '\n' ' ' >&2
  exit 1
done`

// install has the device's package manager install the agent.
func (w *work) install(ctx context.Context) (string, error) {
	p := w.known.Package
	write := w.file(machine.File{Path: packagePath, Mode: 0o600, Content: p.Content})
	if _, err := write(ctx); err != nil {
		return "", err
	}
	if _, err := w.run(ctx, "install the package", installScript, string(p.Format), packagePath); err != nil {
		return "", err
	}
	r, err := w.run(ctx, "run the agent on the device", `"$1" --version`, unit.PackagedAgentPath)
	if err != nil {
		return "", err
	}
	detail := fmt.Sprintf("version %s, by %s", p.Version, managers[p.Format])
	if said := machine.LastLine(r.Stdout); said != "" {
		detail += "; the agent says " + said
	}
	if was := w.facts.Package; was != "" && was != p.Version {
		detail += "; it was version " + was
	}
	return detail, nil
}

// unhideScript removes the unit $1, and the link by which it was enabled.
const unhideScript = `set -e
link=/etc/systemd/system/multi-user.target.wants/${1##*/}
if [ -L "$link" ] && [ "$(readlink "$link")" = "$1" ]; then rm -f -- "$link"; fi
rm -f -- "$1"
systemctl daemon-reload`

// unhide removes the unit that hides the package's.
func (w *work) unhide(ctx context.Context) (string, error) {
	if err := w.owe(ctx); err != nil {
		return "", err
	}
	_, err := w.run(ctx, "remove "+unit.Path, unhideScript, unit.Path)
	return "", err
}

// former removes the agent that an enrolment installed before the package came.
func (w *work) former(ctx context.Context) (string, error) {
	_, err := w.run(ctx, "remove "+unit.AgentPath, `rm -f -- "$1" # the former agent`, unit.AgentPath)
	return "", err
}
