package dev

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"fleet.nationtech.io/agent"
	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/dev/provider"
	"fleet.nationtech.io/deploy/secretfile"
)

// Device is one device of the local fleet.
type Device struct {
	ID     string
	Labels map[string]string
}

// webSocketZone is the zone whose devices come in over WebSocket, where the fleet
// speaks TLS: as behind a proxy that lets HTTPS through alone.
const webSocketZone = "b"

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
func (r *runner) configure(d Device, users accounts.Users) (agent.Config, error) {
	dir := r.path("devices", d.ID)
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
		c.Report.PulseInterval = config.Duration(r.PulseInterval)
	}
	if err := r.authenticate(d, &c, users); err != nil {
		return agent.Config{}, err
	}
	c.DataDir = filepath.Join(dir, "data")
	c.NATS = config.NATS{URL: r.fleet.Env.NATSURL, CAFile: r.fleet.Env.NATSCA, AllowPlaintext: r.fleet.Env.NATSCA == ""}
	if r.webSocketURL != "" && d.Labels["zone"] == webSocketZone {
		c.NATS.URL = r.webSocketURL
	}
	c.Podman.Engine, c.Podman.Socket = config.Engine(r.fleet.Engine), r.fleet.Socket
	b, err := c.Encode()
	if err != nil {
		return agent.Config{}, err
	}
	if err := secretfile.Write(file, b); err != nil {
		return agent.Config{}, fmt.Errorf("device %s: %w", d.ID, err)
	}
	return config.Load(file)
}

// authenticate says in a device's configuration how it proves who it is.
func (r *runner) authenticate(d Device, c *config.Config, users accounts.Users) error {
	if r.Auth == AuthOIDC {
		c.Auth.Mode, c.Auth.User, c.Auth.Password = config.ModeZitadelJWT, "", ""
		c.Auth.Issuer, c.Auth.ProjectID, c.Auth.CAFile, c.Auth.KeyFile = r.fleet.provider.Issuer(), provider.Project, r.ca.File(), r.keyFile(d)
		return nil
	}
	password, ok := users.DevicePassword(d.ID)
	if !ok {
		return fmt.Errorf("device %s has no password", d.ID)
	}
	c.Auth.Mode, c.Auth.User, c.Auth.Password = config.ModeShared, accounts.DeviceUser(d.ID), password
	return nil
}

// keyFile is a device's key, where it has one.
func (r *runner) keyFile(d Device) string { return r.path("devices", d.ID, "zitadel-key.json") }

// offlineAfter is how long a fleet waits for its devices before it calls itself
// ready without them.
const offlineAfter = 20 * time.Second

func (r *runner) upAgents(ctx context.Context, users accounts.Users) error {
	if r.enrolled != nil {
		if err := <-r.enrolled; err != nil {
			return err
		}
	}
	for _, d := range r.fleet.Devices {
		c, err := r.configure(d, users)
		if err != nil {
			return err
		}
		r.fleet.configs[d.ID] = c
		e, err := r.newEngine(c)
		if err != nil {
			return fmt.Errorf("device %s: %w", d.ID, err)
		}
		r.fleet.engines[d.ID] = e
		a, err := agent.New(c, agent.Options{
			Engine: e, Logger: r.Logger.With("component", "agent", "device", d.ID), Registry: r.registry(jobAgent, d.ID),
		})
		if err != nil {
			return fmt.Errorf("device %s: %w", d.ID, err)
		}
		r.background(ctx, "agent of "+d.ID, a.Run)
	}
	online, err := r.awaitDevices(ctx)
	if err != nil {
		return err
	}
	how := "containers are real: Podman at " + r.fleet.Socket
	if r.fleet.Engine == EngineMemory {
		how = "containers exist in memory alone"
		if r.fleet.EngineWhy != "" {
			how += ": " + r.fleet.EngineWhy
		}
	}
	r.say("%d of %d devices are online; %s", online, len(r.fleet.Devices), how)
	return nil
}
