package inventory_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/enroll/inventory"
	"fleet.nationtech.io/deploy/enroll/machine"
)

const whole = `
defaults:
  user: pi
  auth: zitadel
  jump: admin@bastion
  labels: {site: lab, ring: stable}
hosts:
- {host: 10.0.0.5, id: pi-01}
- host: ssh://root@10.0.0.6:2222
  id: pi-02
  auth: shared
  password_file: secrets/{id}
  labels: {ring: canary}
`

func TestDefaultsFillWhatAHostDoesNotSay(t *testing.T) {
	t.Parallel()
	got, err := inventory.Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	want := []inventory.Host{
		{
			Host: "10.0.0.5", ID: "pi-01", User: "pi", Auth: "zitadel", Jump: "admin@bastion",
			Labels: map[string]string{"site": "lab", "ring": "stable"}, Target: machine.Target{User: "pi", Host: "10.0.0.5"},
		},
		{
			Host: "ssh://root@10.0.0.6:2222", ID: "pi-02", User: "pi", Auth: "shared", Jump: "admin@bastion", PasswordFile: "secrets/{id}",
			Labels: map[string]string{"site": "lab", "ring": "canary"}, Target: machine.Target{User: "root", Host: "10.0.0.6", Port: 2222},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("(-want +got)\n" + diff)
	}
}

func TestWhatIsWrongIsToldAllAtOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, says string }{
		"an unknown key, with its line":   {"hosts:\n- {host: a, id: b, lable: c}\n", "line 2: field lable not found"},
		"no host":                         {"defaults: {user: pi}\n", "names no host"},
		"a host without id":               {"hosts:\n- {host: a}\n", "host 1 (a): it has no id"},
		"an id that is none":              {"hosts:\n- {host: a, id: B.c}\n", "RFC 1123"},
		"two hosts of one id":             {"hosts:\n- {host: a, id: x}\n- {host: b, id: x}\n", "hosts 1 and 2 have the same id x"},
		"one machine twice":               {"hosts:\n- {host: a, id: x}\n- {host: a, id: y}\n", "hosts 1 and 2 are the same machine a"},
		"an address with a password":      {"hosts:\n- {host: 'ssh://pi:hunter2@a', id: x}\n", "holds a password"},
		"an id among the defaults":        {"defaults: {id: x}\nhosts:\n- {host: a, id: y}\n", "belong to one host"},
		"what is not YAML":                {"{", "cannot be read"},
		"the second fault beside a first": {"hosts:\n- {host: a}\n- {id: y}\n", "host 2 (): it has no host"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := inventory.Parse([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v does not say %q", err, test.says)
			}
		})
	}
}

func TestNoMoreThanParallelAtATimeAndEachHasItsResult(t *testing.T) {
	t.Parallel()
	hosts := make([]inventory.Host, 30)
	for i := range hosts {
		hosts[i].ID = string(rune('A' + i))
	}
	var now, most atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	got := inventory.Each(ctx, hosts, 4, func(_ context.Context, h inventory.Host) string {
		n := now.Add(1)
		defer now.Add(-1)
		for {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		if h.ID == "T" { // the twentieth
			cancel()
		}
		return "done " + h.ID
	}, func(h inventory.Host) string { return "skipped " + h.ID })
	if m := most.Load(); m > 4 {
		t.Errorf("%d at a time", m)
	}
	for i, g := range got {
		if g != "done "+hosts[i].ID && (g != "skipped "+hosts[i].ID || i < 19) {
			t.Errorf("host %d has %q", i, g)
		}
	}
	if last := got[len(got)-1]; last != "skipped "+hosts[29].ID {
		t.Errorf("the last has %q: the end of the context began nothing else", last)
	}
}
