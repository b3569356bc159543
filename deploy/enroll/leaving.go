package enroll

import (
	"context"
	"fmt"
	"strings"

	"fleet.nationtech.io/deploy/enroll/machine"
	"fleet.nationtech.io/deploy/packages/pkgfile"
)

// off plans what goes from the device itself.
func (d *Departure) off(r Remains) []departing {
	script := func(doing, script string, args ...string) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			got, err := d.Machine.Run(ctx, machine.Command{Script: script, Args: args})
			if err == nil {
				err = got.Check(doing)
			}
			return "", err
		}
	}
	stop := departing{Step: ok(StepStop, "the agent does not run")}
	if r.Service["LoadState"] == "loaded" {
		stop = departing{
			change(StepStop, "the agent is stopped and disabled"),
			script("stop the agent", `systemctl disable --now "$1" 2>&1`, unitName),
		}
	}
	containers := departing{Step: ok(StepContainers, "none is there")}
	if len(r.Ours) > 0 {
		containers = departing{change(StepContainers, "%s", removed(r.Ours)), d.removeContainers}
	} else if r.Service["ActiveState"] == "active" {
		containers = departing{change(StepContainers, "those that the agent makes until it is stopped are removed"), d.removeContainers}
	}
	steps := []departing{stop, containers}
	if len(r.Foreign) > 0 {
		var names []string
		for _, c := range r.Foreign {
			names = append(names, c.Name)
		}
		steps = append(steps, departing{Step: Step{Name: StepContainers, State: Kept, Detail: "kept, as somebody else made them with the fleet's labels: " + strings.Join(names, ", ")}})
	}
	if all := r.Volumes(d.ID); len(all) > 0 {
		s := departing{Step: Step{Name: StepVolumes, State: Kept, Detail: fmt.Sprintf("kept, as they hold data (--volumes removes them): %s", strings.Join(all, ", "))}}
		if d.Volumes {
			s = departing{change(StepVolumes, "%d removed: %s", len(all), strings.Join(all, ", ")), script("remove the volumes", `podman volume rm -f "$@"`, all...)}
		}
		steps = append(steps, s)
	}
	if len(r.Elsewhere) > 0 {
		steps = append(steps, departing{Step: Step{Name: StepFiles, State: Kept, Detail: "kept, as the configuration has them at places of its own: " + strings.Join(r.Elsewhere, ", ")}})
	}
	files := departing{Step: ok(StepFiles, "none is there; Podman and its images are kept")}
	if len(r.Paths) > 0 {
		files = departing{
			change(StepFiles, "removed: %s; Podman and its images are kept", strings.Join(r.Paths, ", ")),
			// The configuration goes last: it is what names the device.
			script("remove the files", `set -e
for path in "$@"; do [ "$path" = /etc/fleet-agent ] || rm -rf -- "$path"; done
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl reset-failed fleet-agent.service 2>/dev/null || :
fi
rm -rf -- /etc/fleet-agent`, r.Paths...),
		}
	}
	steps = append(steps, files)
	if r.Package != "" {
		steps = append(steps, departing{Step: Step{
			Name: StepPackage, State: Kept,
			Detail: fmt.Sprintf("%s %s is left to the package manager: %s removes it", pkgfile.Name, r.Package, removal[r.Manager]),
		}})
	}
	return steps
}

// removal is how a person removes the agent's package.
var removal = map[pkgfile.Format]string{pkgfile.Deb: "apt-get purge " + pkgfile.Name, pkgfile.RPM: "dnf remove " + pkgfile.Name}

func removed(all []Container) string {
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.Name
	}
	return fmt.Sprintf("%d removed: %s", len(names), strings.Join(names, ", "))
}

// removeContainers looks for the device's containers again, as the agent may have made
// some until it was stopped.
func (d *Departure) removeContainers(ctx context.Context) (string, error) {
	r, err := Inspect(ctx, d.Machine)
	if err != nil {
		return "", err
	}
	r.Judge(d.ID)
	if len(r.Ours) == 0 {
		return "none is there", nil
	}
	ids := make([]string, len(r.Ours))
	for i, c := range r.Ours {
		ids[i] = c.ID
	}
	got, err := d.Machine.Run(ctx, machine.Command{Script: `podman rm -f -v -t 10 "$@"`, Args: ids})
	if err == nil {
		err = got.Check("remove the containers")
	}
	return removed(r.Ours), err
}
