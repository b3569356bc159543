//go:build e2ecluster

package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/deploy/e2e/clustertest"
	"fleet.nationtech.io/deploy/e2e/systemdtest"
	"fleet.nationtech.io/deploy/zitadel/setup"
)

// person is one who enrols devices: a home with what SSH needs.
type person struct {
	f    *fleet
	home string
}

func newPerson(f *fleet, lab *systemdtest.Lab, devices []*systemdtest.Device) *person {
	f.t.Helper()
	p := &person{f: f, home: f.t.TempDir()}
	dir := filepath.Join(p.home, ".ssh")
	f.must(os.Mkdir(dir, 0o700))
	known := ""
	for _, d := range devices {
		known += d.KnownHost()
	}
	f.must(os.WriteFile(filepath.Join(dir, "known_hosts"), []byte(known), 0o600))
	f.must(os.WriteFile(filepath.Join(dir, "config"), fmt.Appendf(nil, "Host *\n  IdentityFile %s\n", lab.KeyFile), 0o600))
	return p
}

// fleetctl runs a command line as the fleet's administrator.
func (p *person) fleetctl(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(p.f.t.Context(), clustertest.Timeout)
	defer cancel()
	c := exec.CommandContext(ctx, built.Program(p.f.t, "fleetctl"), args...)
	c.Env = []string{
		"HOME=" + p.home, "PATH=" + os.Getenv("PATH"), "NO_COLOR=1",
		"FLEET_NATS_URL=tls://" + p.f.servers, "FLEET_NATS_CA=" + p.f.ca,
		"FLEET_NATS_USER=" + p.f.admin.User, "FLEET_NATS_PASSWORD=" + p.f.admin.Password,
	}
	c.WaitDelay = time.Second
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	err := c.Run()
	if err != nil {
		err = fmt.Errorf("fleetctl %v: %w: %s%s", args, err, &out, &said)
	}
	return out.String(), err
}

// events are the lines of the event log.
func (p *person) events() []string {
	p.f.t.Helper()
	var out string
	eventually(p.f.t, "the log is read", func(context.Context) (err error) {
		out, err = p.fleetctl("log", "-o", "json")
		return err
	})
	return strings.Split(strings.TrimSpace(out), "\n")
}

// at is a port of the node's.
func (f *fleet) at(port int) string {
	return net.JoinHostPort(f.node.Address.String(), strconv.Itoa(port))
}

// isWell wants fleetctl doctor to find nothing failed, and to know by the pods of so many NATS
// servers what the servers tell persons nothing of: the clock of each, and its storage.
func (p *person) isWell(servers int) {
	p.f.t.Helper()
	eventually(p.f.t, "the doctor finds nothing failed", func(context.Context) error {
		out, err := p.fleetctl("doctor", "--kubeconfig", p.f.node.Kubeconfig, "-n", p.f.namespace, "-o", "text")
		if err != nil {
			return err
		}
		if !strings.Contains(out, fmt.Sprintf("of %d NATS servers", servers)) || !regexp.MustCompile(`(?m)^ok +storage`).MatchString(out) {
			return fmt.Errorf("the doctor does not know the clock or the storage of %d servers:\n%s", servers, out)
		}
		return nil
	})
}

// agrees is fleetctl verify, for which all must agree.
func (p *person) agrees() {
	p.f.t.Helper()
	eventually(p.f.t, "the log, its seals and the buckets agree", func(context.Context) error {
		_, err := p.fleetctl("verify")
		return err
	})
}

// forward gives devices a way to a port of the node's: they reach nothing but this
// machine, at that address, which is the test's own. The port has the same number there, as
// the installer tells it. It ends with the test.
func (f *fleet) forward(from netip.Addr, port int) string {
	f.t.Helper()
	at, end, err := forward(f.t.Context(), net.JoinHostPort(from.String(), strconv.Itoa(port)), f.at(port))
	f.must(err)
	f.t.Cleanup(end)
	return at
}

// forward relays what comes in at an address to another one, until it is ended.
func forward(ctx context.Context, from, to string) (at string, end func(), err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", from)
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var relaying sync.WaitGroup
	relaying.Go(func() {
		for {
			device, err := listener.Accept()
			if err != nil {
				return // it was ended
			}
			relaying.Go(func() { relay(ctx, device, to) })
		}
	})
	return listener.Addr().String(), func() {
		cancel()
		_ = listener.Close()
		relaying.Wait()
	}, nil
}

// relay connects a device with the node until one of them has enough.
func relay(ctx context.Context, device net.Conn, to string) {
	defer device.Close()
	node, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", to)
	if err != nil {
		return // the device finds its connection closed
	}
	defer node.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, way := range [][2]net.Conn{{device, node}, {node, device}} {
		go func() {
			defer cancel()
			_, _ = io.Copy(way[0], way[1]) // the end of the other way ends it too
		}()
	}
	<-ctx.Done()
}

// containers gives what would be another one if a container of a device had been
// started again.
func containers(t *testing.T, devices ...*systemdtest.Device) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, d := range devices {
		all[d.Name] = d.Run("podman ps --no-trunc --format '{{.ID}} {{.Image}} {{.StartedAt}}'")
		if all[d.Name] == "" {
			t.Fatal(errors.New(d.Name + " runs no container"))
		}
	}
	return all
}

// enrol enrols devices at the same time, each with its own flags beside those of all.
func (p *person) enrol(devices []*systemdtest.Device, flags map[string][]string) {
	p.f.t.Helper()
	var enrolling sync.WaitGroup
	for _, d := range devices {
		enrolling.Go(func() {
			target := "ssh://" + systemdtest.User + "@" + d.SSH()
			if _, err := p.fleetctl(append([]string{"enroll", target, "--id", d.Name, "-l", "site=lab"}, flags[d.Name]...)...); err != nil {
				p.f.t.Error(err)
			}
		})
	}
	enrolling.Wait()
	if p.f.t.Failed() {
		p.f.t.FailNow()
	}
}

// sharedFlags have a device come in by a user and a password of the servers'.
func (f *fleet) sharedFlags(id string) []string {
	f.t.Helper()
	password, _ := f.users.DevicePassword(id)
	file := filepath.Join(f.t.TempDir(), "password")
	f.must(os.WriteFile(file, []byte(password+"\n"), 0o600))
	return []string{"--auth", "shared", "--device-password-file", file}
}

// tokenFlags have a device come in by a key of its own, which an administrator's account
// registers at the provider. Keys is the directory that fleetctl zitadel setup wrote.
func (f *fleet) tokenFlags(keys string) []string {
	f.t.Helper()
	provider, _, err := setup.Load(keys)
	f.must(err)
	return []string{
		"--issuer", provider.Issuer, "--provider-ca-file", setup.CAFile(keys), "--project", provider.Project,
		"--organization", provider.DeviceOrganization, "--admin-key-file", setup.AccountKeyFile(keys),
	}
}
