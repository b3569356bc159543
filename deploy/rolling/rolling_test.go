package rolling_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/accounts/accountstest"
	"fleet.nationtech.io/deploy/rolling"
	"fleet.nationtech.io/eventlog/natstest"
)

// cluster is three servers that run by configuration files, and a device's connection
// to each.
type cluster struct {
	t       *testing.T
	files   []string
	servers *natstest.Servers
	system  *nats.Conn
	devices []*nats.Conn
}

func start(t *testing.T) *cluster {
	t.Helper()
	const n = 3
	c := &cluster{t: t}
	text, err := accounts.Render(accounts.Users{
		Operator: accounts.Login{User: "operator", Password: "o"}, System: accounts.Login{User: "sys", Password: "s"},
		Devices: []accounts.Device{{ID: "pi-01", Password: "d"}},
	}, accounts.RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range accountstest.Nodes(t, n) {
		file := filepath.Join(t.TempDir(), "nats.conf")
		if err := os.WriteFile(file, append(server.Render(), text...), 0o600); err != nil {
			t.Fatal(err)
		}
		c.files = append(c.files, file)
	}
	c.servers = natstest.ClusterOf(t, c.files...)
	c.system, _ = c.servers.Connect(t, nats.UserInfo("sys", "s"))
	for _, s := range c.servers.Nodes {
		nc, _ := s.Connect(t, nats.UserInfo(accounts.DeviceUser("pi-01"), "d"), nats.NoReconnect())
		c.devices = append(c.devices, nc)
	}
	return c
}

func (c *cluster) change(o rolling.Options) (changed []string, err error) {
	o.Conn = c.system
	if o.Servers == 0 {
		o.Servers = len(c.files)
	}
	o.Changed = func(s rolling.Server, n rolling.Count) {
		changed = append(changed, s.Name)
		c.t.Logf("%s: %d devices, then %d after %v", s.Name, n.Before, n.After, n.Took)
	}
	return changed, rolling.Change(c.t.Context(), o)
}

func TestServersAreChangedOneByOneAndNoneAfterOneThatFails(t *testing.T) {
	t.Parallel()
	c := start(t)
	for name, tc := range map[string]struct {
		options rolling.Options
		changed []string
		says    string
	}{
		"a server that does not answer stops all": {
			rolling.Options{Servers: 4, Timeout: 12 * time.Second}, nil, "nothing was changed: after 12s: 3 of 4 servers are healthy",
		},
		"more servers than were told stop all": {
			rolling.Options{Servers: 2}, nil, "nothing was changed: 3 servers answer, and there are to be 2",
		},
		"a change that fails stops the rest": {
			rolling.Options{Apply: func(_ context.Context, s rolling.Server) error {
				if s.Name == "node-2" {
					return errors.New("the disk is full")
				}
				return nil
			}}, []string{"node-1"}, "server node-2 (2 of 3): the disk is full",
		},
		"each server reads its configuration again": {
			rolling.Options{}, []string{"node-1", "node-2", "node-3"}, "",
		},
	} {
		changed, err := c.change(tc.options)
		if diff := cmp.Diff(tc.changed, changed); diff != "" {
			t.Errorf("%s: changed (-want +got)\n%s", name, diff)
		}
		if tc.says == "" && err != nil || tc.says != "" && (err == nil || err.Error() != tc.says) {
			t.Errorf("%s: error %v, want %q", name, err, tc.says)
		}
	}
}

func TestAUserOfAnotherAccountChangesNoServer(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.system, _ = c.servers.Connect(t, nats.UserInfo("operator", "o"))
	changed, err := c.change(rolling.Options{Timeout: 10 * time.Second})
	if len(changed) > 0 || err == nil || !strings.Contains(err.Error(), "nothing was changed: after 10s: ask the servers: none hears the question") {
		t.Errorf("changed %v, error %v", changed, err)
	}
}

func TestAServerThatRefusesItsConfigurationKeepsItAndStopsTheRest(t *testing.T) {
	t.Parallel()
	c := start(t)
	if err := os.WriteFile(c.files[1], []byte("port: {"), 0o600); err != nil {
		t.Fatal(err)
	}
	changed, err := c.change(rolling.Options{})
	if diff := cmp.Diff([]string{"node-1"}, changed); diff != "" {
		t.Errorf("changed (-want +got)\n%s", diff)
	}
	if err == nil || !strings.Contains(err.Error(), "server node-2 (2 of 3): reload: the server keeps its configuration") {
		t.Errorf("error %v", err)
	}
	if !c.devices[1].IsConnected() {
		t.Error("its device was cut off")
	}
}

func TestWhereDevicesDoNotComeBackTheNextServerIsUntouched(t *testing.T) {
	t.Parallel()
	c := start(t)
	changed, err := c.change(rolling.Options{Timeout: 15 * time.Second, Apply: func(_ context.Context, s rolling.Server) error {
		for i, node := range c.servers.Nodes {
			if node.Name() == s.Name {
				c.devices[i].Close()
			}
		}
		return nil
	}})
	if !errors.Is(err, rolling.ErrClientsAway) || !strings.Contains(err.Error(), "server node-1 (1 of 3): after 15s: not all devices are back: 2 of 3") {
		t.Errorf("error %v", err)
	}
	if len(changed) > 0 || !c.devices[1].IsConnected() || !c.devices[2].IsConnected() {
		t.Errorf("changed %v", changed)
	}
}
