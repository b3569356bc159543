package dev

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"fleet.nationtech.io/agent"
	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/deploy/accounts"
)

// Device is one device of the local fleet.
type Device struct {
	ID     string
	Labels map[string]string
}

// devices names them and gives them labels to select by: all are of one site,
// the zones alternate, the first is the canary.
func devices(prefix string, n int) []Device {
	ds := make([]Device, n)
	for i := range ds {
		ds[i] = Device{
			ID:     fmt.Sprintf("%s-%02d", prefix, i+1),
			Labels: map[string]string{"site": "lab", "zone": string(rune('a' + i%2))},
		}
		if i == 0 {
			ds[i].Labels["ring"] = "canary"
		}
	}
	return ds
}

func ids(ds []Device) []string {
	s := make([]string, len(ds))
	for i, d := range ds {
		s[i] = d.ID
	}
	return s
}

// configure writes a device's config.toml where it has none yet, or brings the
// parts that fleet-dev decides up to date, and reads it back as a real agent
// would: what a person changed in it by hand stays.
func (d Device) configure(o Options, natsURL, engine, socket string, users accounts.Users) (agent.Config, error) {
	dir := o.path("devices", d.ID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return agent.Config{}, fmt.Errorf("device %s: %w", d.ID, err)
	}
	file := filepath.Join(dir, "config.toml")
	c := config.Default()
	if _, err := os.Stat(file); err == nil {
		if c, err = config.Load(file); err != nil {
			return agent.Config{}, fmt.Errorf("device %s: %w", d.ID, err)
		}
	} else {
		c.DeviceID, c.Labels = d.ID, d.Labels
		c.Report.PulseInterval = config.Duration(o.PulseInterval)
	}
	password, ok := users.DevicePassword(d.ID)
	if !ok {
		return agent.Config{}, fmt.Errorf("device %s has no password", d.ID)
	}
	c.DataDir = filepath.Join(dir, "data")
	c.NATS = config.NATS{URL: natsURL, AllowPlaintext: true}
	c.Auth.Mode, c.Auth.User, c.Auth.Password = config.ModeShared, accounts.DeviceUser(d.ID), password
	c.Podman.Engine, c.Podman.Socket = config.Engine(engine), socket
	b, err := c.Encode()
	if err != nil {
		return agent.Config{}, err
	}
	if err := writeFile(file, b, 0o600); err != nil {
		return agent.Config{}, fmt.Errorf("device %s: %w", d.ID, err)
	}
	return config.Load(file)
}

// offlineAfter is how long a fleet waits for its devices before it calls itself
// ready without them.
const offlineAfter = 20 * time.Second
