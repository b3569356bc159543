// Package inventory reads a file of devices, and does one thing with all of them at a
// time, where those that fail hold up none of the others.
package inventory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	yaml "go.yaml.in/yaml/v3"

	"fleet.nationtech.io/deploy/enroll/machine"
	"fleet.nationtech.io/eventlog"
)

// Host is one device, and what is said of it. What is empty comes from the defaults,
// and then from the command line.
type Host struct {
	Host         string            `yaml:"host"` // HOST, USER@HOST:PORT or ssh://USER@HOST:PORT
	ID           string            `yaml:"id"`
	Labels       map[string]string `yaml:"labels"`
	User         string            `yaml:"user"` // who logs in by SSH
	Jump         string            `yaml:"jump"`
	Auth         string            `yaml:"auth"`
	Key          string            `yaml:"key"`           // key file, for auth zitadel-jwt
	DeviceUser   string            `yaml:"device_user"`   // on NATS, for auth shared
	PasswordFile string            `yaml:"password_file"` // its password
	URL          string            `yaml:"url"`           // NATS as the device reaches it

	Target machine.Target `yaml:"-"`
}

type file struct {
	Defaults Host   `yaml:"defaults"`
	Hosts    []Host `yaml:"hosts"`
}

// maxHosts bounds a file.
const maxHosts = 10000

// Parse reads an inventory, strictly, and fills in its defaults. Its error says all that
// is wrong, a sentence each.
func Parse(text []byte) ([]Host, error) {
	var f file
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("the inventory cannot be read: %w", err)
	}
	var errs []error
	switch {
	case len(f.Hosts) == 0:
		return nil, errors.New("the inventory names no host: write a list of hosts, each with host and id")
	case len(f.Hosts) > maxHosts:
		return nil, fmt.Errorf("the inventory names %d hosts, and %d are the most", len(f.Hosts), maxHosts)
	case f.Defaults.ID != "" || f.Defaults.Host != "":
		errs = append(errs, errors.New("defaults: host and id belong to one host, and not to the defaults"))
	}
	ids, targets := map[string]int{}, map[string]int{}
	for i := range f.Hosts {
		h := &f.Hosts[i]
		h.fill(f.Defaults)
		if err := h.check(); err != nil {
			errs = append(errs, fmt.Errorf("host %d (%s): %w", i+1, h.Host, err))
			continue
		}
		if before, ok := ids[h.ID]; ok {
			errs = append(errs, fmt.Errorf("hosts %d and %d have the same id %s", before, i+1, h.ID))
		}
		// The same address behind two jump hosts is two machines.
		key := h.Target.String() + " " + h.Jump
		if before, ok := targets[key]; ok {
			errs = append(errs, fmt.Errorf("hosts %d and %d are the same machine %s", before, i+1, h.Host))
		}
		ids[h.ID], targets[key] = i+1, i+1
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return f.Hosts, nil
}

func (h *Host) fill(d Host) {
	for value, byDefault := range map[*string]string{
		&h.User: d.User, &h.Jump: d.Jump, &h.Auth: d.Auth, &h.Key: d.Key,
		&h.DeviceUser: d.DeviceUser, &h.PasswordFile: d.PasswordFile, &h.URL: d.URL,
	} {
		if *value == "" {
			*value = byDefault
		}
	}
	labels := maps.Clone(d.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, h.Labels)
	h.Labels = labels
}

func (h *Host) check() error {
	switch {
	case h.Host == "":
		return errors.New("it has no host: write host: ADDRESS")
	case h.ID == "":
		return errors.New("it has no id: write id: NAME")
	}
	if err := eventlog.CheckName("id", h.ID); err != nil {
		return err
	}
	t, err := machine.ParseTarget(h.Host)
	if err != nil {
		return err
	}
	if t.User == "" {
		t.User = h.User
	}
	h.Target = t
	return nil
}

// Each calls do for each host, at most parallel at a time, and gives what it gave in
// the order of the hosts. Hosts that are not begun when the context ends are left out:
// skipped gives what they get.
func Each[T any](ctx context.Context, hosts []Host, parallel int, do func(context.Context, Host) T, skipped func(Host) T) []T {
	results := make([]T, len(hosts))
	turns := make(chan struct{}, max(parallel, 1))
	var work sync.WaitGroup
	for i, h := range hosts {
		select {
		case <-ctx.Done():
		case turns <- struct{}{}:
		}
		if ctx.Err() != nil {
			results[i] = skipped(h)
			continue
		}
		work.Go(func() {
			defer func() { <-turns }()
			results[i] = do(ctx, h)
		})
	}
	work.Wait()
	return results
}
