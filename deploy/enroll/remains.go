package enroll

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/deploy/enroll/machine"
	"fleet.nationtech.io/deploy/packages/pkgfile"
)

// Remains are what an enrolment, and the agent since, left on a device.
type Remains struct {
	ID        string // by the configuration
	Mode      config.Mode
	KeyUser   string
	Paths     []string
	Manager   pkgfile.Format // of the agent's package
	Package   string         // its version; empty: it is not installed
	Service   map[string]string
	Elsewhere []string // files that the configuration names at places of its own
	Ours      []Container
	Foreign   []Container // they have the fleet's labels, and somebody else made them
	volumes   []string
	container []Container
	records   bool     // the agent has a record of its containers
	recorded  []string // their ids
}

// Container is a container that has the fleet's labels.
type Container struct {
	ID   string
	Name string
	of   engine.Identity
}

//go:embed inspect.sh
var inspectScript string

// Inspect looks at what is left on a device.
func Inspect(ctx context.Context, m machine.Machine) (Remains, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	r, err := m.Run(ctx, machine.Command{Script: inspectScript})
	if err == nil {
		err = r.Check("look at the device")
	}
	if err != nil {
		return Remains{}, fmt.Errorf("look at the device: %w", err)
	}
	return parseRemains(r.Stdout)
}

func parseRemains(text []byte) (Remains, error) {
	var r Remains
	said := false
	err := parseAnswers(text, func(name string, value []byte) error {
		text := strings.TrimSpace(string(value))
		switch name {
		case "machine":
			said = true
		case "config":
			c, _ := config.Parse(value) // what cannot be read has no id
			r.ID, r.Mode = c.DeviceID, c.Auth.Mode
			r.setElsewhere(c)
		case "key_user":
			r.KeyUser = text
		case "package":
			manager, version, _ := strings.Cut(text, " ")
			r.Manager, r.Package = pkgfile.Format(manager), version
		case "path":
			r.Paths = append(r.Paths, text)
		case "service":
			r.Service = properties(text)
		case "podman_fails":
			return fmt.Errorf("podman ps fails on the device, so that its containers cannot be found: %.300s", text)
		case "containers":
			return r.setContainers(value)
		case "volumes":
			r.volumes = strings.Fields(text)
		case "recorded":
			r.records, r.recorded = true, strings.Fields(text)
		}
		return nil
	})
	if err == nil && !said {
		err = errSilent
	}
	return r, err
}

// setElsewhere notes what a person put to other places than an enrolment does.
func (r *Remains) setElsewhere(c config.Config) {
	for _, path := range []string{c.DataDir, c.NATS.CAFile, c.Auth.CAFile, c.Auth.KeyFile} {
		if path != "" && path != config.DefaultDataDir && filepath.Dir(path) != configDir && !slices.Contains(r.Elsewhere, path) {
			r.Elsewhere = append(r.Elsewhere, path)
		}
	}
}

func (r *Remains) setContainers(text []byte) error {
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return nil
	}
	var all []struct {
		ID     string `json:"Id"`
		Names  []string
		Labels map[string]string
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return errors.New("look at the device: podman ps --format json gives what cannot be read")
	}
	for _, c := range all {
		of := engine.FromLabels(c.Labels).Identity
		r.container = append(r.container, Container{ID: c.ID, Name: strings.Join(c.Names, " "), of: of})
	}
	return nil
}

// Judge tells the containers of a device from those that merely have its labels, which
// podman commit passes on: by the agent's record, which has each container that the
// agent took for the fleet's; and by their names where there is none.
func (r *Remains) Judge(id string) {
	for _, c := range r.container {
		switch {
		case c.of.Device != id:
		case slices.Contains(r.recorded, c.ID), !r.records && c.Name == c.of.Name():
			r.Ours = append(r.Ours, c)
		default:
			r.Foreign = append(r.Foreign, c)
		}
	}
}

// Volumes are the volumes of a device: their names are made of its id, of a Deployment
// and of what the score calls them.
func (r *Remains) Volumes(id string) []string {
	var all []string
	for _, v := range r.volumes {
		rest, ok := strings.CutPrefix(v, id+"-")
		if !ok {
			continue
		}
		end := strings.LastIndex(rest, "-")
		if end < 0 {
			continue
		}
		for i, r := range rest[:end] {
			of := engine.Identity{Device: id, Deployment: rest[:i]}
			if r == '-' && of.VolumeName(rest[i+1:end]) == v {
				all = append(all, v)
				break
			}
		}
	}
	return all
}
