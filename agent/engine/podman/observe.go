package podman

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/containers/podman/v5/libpod/define"
	"github.com/containers/podman/v5/pkg/bindings/containers"
	"github.com/containers/podman/v5/pkg/domain/entities/types"

	"fleet.nationtech.io/agent/engine"
)

// inspected is what an inspect said, for as long as the list says the same.
type inspected struct {
	listed    listed
	container engine.Container
	address   string // of the container in its network; empty where it has none
	host      bool   // it is in the host's network
	published []published
}

// published is a container's port and where on the host to ask for it.
type published struct {
	ip        string
	host      uint16
	container uint16
	protocol  string
}

// listed is what tells in a list that an inspect would say something new.
type listed struct {
	Name      string
	State     string
	StartedAt int64
	ExitedAt  int64
	ExitCode  int32
	Pid       int
}

// Observe lists the device's containers. A list has times in seconds and no word
// of memory kills, so what changed is inspected as well.
func (p *Podman) Observe(ctx context.Context) ([]engine.Container, error) {
	conn, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	recorded := p.allRecorded() // before the list, which lacks what is made after it
	list, err := p.list(ctx, conn)
	if err != nil {
		return nil, err
	}
	seen := make(map[string]inspected, len(list))
	out := make([]engine.Container, 0, len(list))
	for _, l := range list {
		if l.Labels[engine.LabelDevice] != p.options.Device {
			continue
		}
		i, err := p.look(conn, l)
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		seen[l.ID] = i
		c := i.container
		c.Ports = slices.Clone(c.Ports)
		out = append(out, c)
	}
	p.mu.Lock()
	p.seen = seen
	maps.DeleteFunc(p.left, func(id, _ string) bool { _, there := seen[id]; return !there })
	p.mu.Unlock()
	p.forget(recorded, seen)
	return out, nil
}

// look gives what is known of a listed container, from memory where the list
// shows that nothing changed.
func (p *Podman) look(conn context.Context, l types.ListContainer) (inspected, error) {
	now := listed{Name: strings.Join(l.Names, " "), State: l.State, StartedAt: l.StartedAt, ExitedAt: l.ExitedAt, ExitCode: l.ExitCode, Pid: l.Pid}
	p.mu.Lock()
	known, found := p.seen[l.ID]
	p.mu.Unlock()
	if found && known.listed == now {
		return known, nil
	}
	i, err := p.inspect(conn, l.ID)
	i.listed = now
	return i, err
}

func (p *Podman) inspect(conn context.Context, id string) (inspected, error) {
	data, err := containers.Inspect(conn, id, nil)
	if err != nil {
		return inspected{}, fail(conn, engine.ReasonObserveFailed, err)
	}
	i := read(data)
	i.container.Foreign, err = p.foreign(conn, i.container, data.Image)
	return i, err
}

// own inspects one container, and refuses those that are not the device's, or are
// foreign.
func (p *Podman) own(conn context.Context, id string) (inspected, error) {
	i, err := p.inspect(conn, id)
	if err != nil {
		return i, err
	}
	if i.container.Device != p.options.Device {
		return i, &engine.Error{
			Class: engine.ClassChange, Reason: engine.ReasonContainerGone,
			Err: errors.New("container " + id + " is not of device " + p.options.Device),
		}
	}
	if why := i.container.Foreign; why != "" {
		return i, &engine.Error{
			Class: engine.ClassRetrySlowly, Reason: engine.ReasonForeignContainer,
			Err: fmt.Errorf("container %s (%.12s) is left alone: %s", i.container.Name, id, why),
		}
	}
	return i, nil
}

func read(data *define.InspectContainerData) inspected {
	var i inspected
	c := &i.container
	if data.Config != nil {
		*c = engine.FromLabels(data.Config.Labels)
	}
	c.ID, c.Name, c.CreatedAt = data.ID, strings.TrimPrefix(data.Name, "/"), data.Created
	c.ImageDigest = data.ImageDigest
	if c.ImageDigest == "" && data.Image != "" {
		c.ImageDigest = "sha256:" + strings.TrimPrefix(data.Image, "sha256:")
	}
	if s := data.State; s != nil {
		c.State, c.ExitCode, c.OOMKilled = engine.ParseState(s.Status), int(s.ExitCode), s.OOMKilled
		c.StartedAt, c.FinishedAt = known(s.StartedAt), known(s.FinishedAt)
		if !c.State.Ended() {
			c.FinishedAt = time.Time{}
		}
	}
	if data.HostConfig != nil {
		i.host = data.HostConfig.NetworkMode == "host"
		for key, bindings := range data.HostConfig.PortBindings {
			number, protocol, _ := strings.Cut(key, "/")
			for _, b := range bindings {
				i.published = append(i.published, published{
					ip: b.HostIP, host: portNumber(b.HostPort), container: portNumber(number), protocol: protocol,
				})
			}
		}
	}
	slices.SortFunc(i.published, comparePublished)
	for _, pub := range i.published {
		c.Ports = append(c.Ports, engine.PortText(pub.host, pub.container, pub.protocol))
	}
	if n := data.NetworkSettings; n != nil {
		i.address = n.IPAddress
		for _, network := range n.Networks {
			if i.address == "" && network != nil {
				i.address = network.IPAddress
			}
		}
	}
	return i
}

// known gives zero for the ways in which Podman writes that there was no such
// time: the zero time and the epoch. Shortly after the epoch is when things happen
// on a device that has no clock of its own and no network yet.
func known(t time.Time) time.Time {
	if t.Unix() <= 0 {
		return time.Time{}
	}
	return t
}

// gone says whether the error is that there is no such container.
func gone(err error) bool {
	var e *engine.Error
	return errors.As(err, &e) && e.Reason == engine.ReasonContainerGone
}
