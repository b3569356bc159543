package accounts_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/buckets"
)

const (
	mallory = "mallory" // the hostile device
	victim  = "victim"
	old     = "old-01" // an older agent
	alice   = "alice"  // an operator, in account PEOPLE
	victor  = "victor" // a viewer, in account PEOPLE
	dev     = "dev"    // a person who may do more
)

// timeout is for machines that do much else at the same time.
const timeout = time.Minute

// world is a real server, or three, with the accounts, the log and the buckets.
type world struct {
	t       *testing.T
	connect func(testing.TB, ...nats.Option) (*nats.Conn, jetstream.JetStream)
	js      jetstream.JetStream // the operator's
	nc      *nats.Conn
}

func config(t *testing.T) string {
	t.Helper()
	u := accounts.Users{
		Operator: accounts.Login{User: "operator", Password: "p"},
		People: []accounts.Person{
			{Login: accounts.Login{User: alice, Password: "p"}, Level: callout.Operator},
			{Login: accounts.Login{User: victor, Password: "p"}, Level: callout.Viewer},
			{Login: accounts.Login{User: dev, Password: "p"}, Developer: true},
		},
		Devices: []accounts.Device{{ID: mallory, Password: "p"}, {ID: victim, Password: "p"}},
		Lab:     accounts.Login{User: "lab", Password: "p"},
		Legacy:  []accounts.Device{{ID: old, Password: "p"}},
	}
	text, err := accounts.Render(u, accounts.RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	server := accounts.Server{Name: "n", Port: -1, StoreDir: t.TempDir()}
	return string(server.Render()) + string(text)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, connect: natstest.Start(t, natstest.Config(t, config(t))).Connect}
	w.ready(1)
	return w
}

func newCluster(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, connect: natstest.Cluster(t, 3, natstest.Config(t, config(t))).Connect}
	w.ready(3)
	return w
}

func (w *world) ready(replicas int) {
	w.t.Helper()
	w.nc, w.js = w.as("operator")
	natstest.EnsureLog(w.t, w.js, replicas)
	natstest.Settle(w.t, func(ctx context.Context) error {
		_, err := buckets.Ensure(ctx, w.js, buckets.Config{Replicas: replicas})
		return err
	})
}

// as connects as a user whose password is p.
func (w *world) as(user string, options ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	w.t.Helper()
	options = append([]nats.Option{nats.UserInfo(user, "p")}, options...)
	if user != alice && user != victor {
		return w.connect(w.t, options...)
	}
	nc, _ := w.connect(w.t, append(options, nats.CustomInboxPrefix(eventlog.InboxPrefix(user)))...)
	js, err := reader.People(nc)
	if err != nil {
		w.t.Fatal(err)
	}
	return nc, js
}

// device connects as a device does, with its private inbox.
func (w *world) device(id string, options ...nats.Option) *nats.Conn {
	w.t.Helper()
	nc, _ := w.as(accounts.DeviceUser(id), append([]nats.Option{nats.CustomInboxPrefix(eventlog.InboxPrefix(id))}, options...)...)
	return nc
}

// logged counts the messages of the log by subject.
func (w *world) logged() map[string]uint64 {
	w.t.Helper()
	return w.subjects(eventlog.LogStream)
}

func (w *world) subjects(stream string) (all map[string]uint64) {
	w.t.Helper()
	natstest.Settle(w.t, func(ctx context.Context) error {
		s, err := w.js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(">"))
		if err == nil {
			all = info.State.Subjects
		}
		return err
	})
	return all
}

// append appends as the operator does, but without a fence.
func (w *world) append(d eventlog.Draft) uint64 {
	w.t.Helper()
	seq, err := appender.Unfenced(w.t.Context(), w.js, "test", d)
	if err != nil {
		w.t.Fatal(err)
	}
	return seq
}

// lead appends as the elected operator does: many at once.
func (w *world) lead(drafts []eventlog.Draft) {
	w.t.Helper()
	nc, _ := w.as("operator")
	leader, err := appender.New(nc, appender.Options{Source: "operator"})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := leader.Elect(w.t.Context(), eventlog.Leader{Identity: "leader"}, time.Now()); err != nil {
		w.t.Fatal(err)
	}
	if _, err := leader.Append(w.t.Context(), drafts); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) bucket(js jetstream.JetStream, name string) jetstream.KeyValue {
	w.t.Helper()
	kv, err := js.KeyValue(w.t.Context(), name)
	if err != nil {
		w.t.Fatalf("bind bucket %s: %v", name, err)
	}
	return kv
}

// violations gathers what the server refuses one connection.
type violations struct {
	mu  sync.Mutex
	all []string
}

func (v *violations) option() nats.Option {
	return nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.all = append(v.all, err.Error())
	})
}

// of says whether the server refused this verb on this subject.
func (v *violations) of(verb, subject string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.all {
		s = strings.ToLower(s)
		if strings.Contains(s, "permissions violation for "+verb+" to \""+strings.ToLower(subject)+"\"") {
			return true
		}
	}
	return false
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(timeout); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %s still not: %s", timeout, what)
		}
	}
}

func assigned(device, deployment string) eventlog.Draft {
	return eventlog.Draft{
		Subject: eventlog.DesiredSubject(device, deployment), Type: eventlog.DesiredAssigned, Time: time.Now(),
		Namespace: "default", Revision: 1, Data: []byte(`{"data":{"services":[]},"type":"PodmanV0"}`),
	}
}
