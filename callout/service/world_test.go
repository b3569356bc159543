package service_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/callout/providertest"
	"fleet.nationtech.io/callout/refusal"
	"fleet.nationtech.io/callout/responder"
	"fleet.nationtech.io/callout/service"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
)

// config is that of servers with the auth callout. deploy/accounts renders the
// whole of it; here stands what the callout's own tests need.
const config = `
authorization {
  timeout: 1.8
  auth_callout { issuer: %s, xkey: %s, account: AUTH, auth_users: [operator, sys, callout, callout-fleet, callout-sys, lab] }
}
system_account: SYS
accounts {
  AUTH { users: [ { user: callout, password: c, permissions: {
    subscribe: { allow: ["$SYS.REQ.USER.AUTH"] }, publish: { allow: ["$SYS._INBOX.>"] } } } ] }
  FLEET {
    jetstream: enabled
    exports: [
      { service: "fleet.evt.state.*.*", accounts: [DEVICES] }
      { service: "fleet.evt.info.*", accounts: [DEVICES] }
      { service: "fleet.evt.request.*.*.*", accounts: [PEOPLE] }
      { service: "$JS.API.DIRECT.GET.FLEET", accounts: [PEOPLE], response_type: Stream }
      { stream: "fleet.evt.>", accounts: [PEOPLE] } ]
    users: [ { user: operator, password: o }
      { user: callout-fleet, password: f, permissions: {
        publish: { allow: ["fleet.evt.auth.*", "$JS.API.INFO", "$JS.API.STREAM.INFO.FLEET", "$JS.API.STREAM.MSG.GET.FLEET",
          "$JS.API.CONSUMER.CREATE.FLEET.>", "$JS.API.CONSUMER.INFO.FLEET.>", "$JS.API.CONSUMER.DELETE.FLEET.>", "$JS.API.CONSUMER.MSG.NEXT.FLEET.>"] }
        subscribe: { allow: ["_INBOX.callout.>"] } } } ]
  }
  DEVICES {
    limits: { max_payload: 61440, max_subs: 64 }
    imports: [
      { service: { account: FLEET, subject: "fleet.evt.state.*.*" } }
      { service: { account: FLEET, subject: "fleet.evt.info.*" } } ]
    users: [ { user: lab, password: l } ]
  }
  PEOPLE { imports: [
      { service: { account: FLEET, subject: "fleet.evt.request.*.*.*" } }
      { service: { account: FLEET, subject: "$JS.API.DIRECT.GET.FLEET" } }
      { stream: { account: FLEET, subject: "fleet.evt.>" } } ] }
  SYS { users: [ { user: sys, password: s }
      { user: callout-sys, password: y, permissions: {
        publish: { allow: ["$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.SERVER.*.KICK"] }
        subscribe: { allow: ["$SYS.ACCOUNT.*.CONNECT", "$SYS.ACCOUNT.*.DISCONNECT", "_INBOX.callout.>"] } } } ] }
}
`

// world is a server, a provider and the secrets of a callout.
type world struct {
	t        testing.TB
	provider *providertest.Provider
	server   *natstest.Server
	issuer   []byte
	xkey     []byte
	fleet    *nats.Conn
	js       jetstream.JetStream
}

func seeds(t testing.TB, create func() (nkeys.KeyPair, error)) (seed []byte, public string) {
	t.Helper()
	pair, err := create()
	if err != nil {
		t.Fatal(err)
	}
	if seed, err = pair.Seed(); err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	return seed, public
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, provider: providertest.Start(t)}
	issuer, issuerKey := seeds(t, nkeys.CreateAccount)
	xkey, xkeyKey := seeds(t, nkeys.CreateCurveKeys)
	w.issuer, w.xkey = issuer, xkey
	w.server = natstest.Start(t, natstest.Config(t, fmt.Sprintf(config, issuerKey, xkeyKey)))
	w.fleet, w.js = w.server.Connect(t, nats.UserInfo("operator", "o"))
	natstest.EnsureLog(t, w.js, 1)
	return w
}

// replica is a running callout.
type replica struct {
	registry *prometheus.Registry
	stop     func()
}

func (w *world) options() service.Options {
	return service.Options{
		URL:  w.server.URL(),
		Auth: service.Login{User: "callout", Password: "c"}, Log: service.Login{User: "callout-fleet", Password: "f"},
		System: service.Login{User: "callout-sys", Password: "y"},
		Keys:   responder.Keys{Issuers: [][]byte{w.issuer}, XKeys: [][]byte{w.xkey}},
		Issuer: w.provider.Issuer(), Project: providertest.Project,
		DeviceOrganization: providertest.Devices, DeviceRole: "device", Organizations: []string{providertest.People},
		Roles: service.DefaultRoles(), ProviderTimeout: time.Second,
	}
}

// start runs a replica until it takes requests.
func (w *world) start(change ...func(*service.Options)) *replica {
	w.t.Helper()
	r := w.launch(change...)
	r.await(w.t, "fleet_callout_subscribed", 1)
	return r
}

func (w *world) launch(change ...func(*service.Options)) *replica {
	w.t.Helper()
	o := w.options()
	o.Registry = prometheus.NewRegistry()
	for _, f := range change {
		f(&o)
	}
	s, err := service.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	r := &replica{registry: o.Registry, stop: sync.OnceFunc(func() { cancel(); <-ended })}
	w.t.Cleanup(r.stop)
	return r
}

// metric sums a metric over its labels that contain all of the given texts.
func (r *replica) metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	metrics:
		for _, m := range f.GetMetric() {
			for _, l := range labels {
				if !strings.Contains(m.String(), l) {
					continue metrics
				}
			}
			sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return sum
}

func (r *replica) await(t testing.TB, name string, want float64, labels ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s%v is %v", name, labels, want), func() bool { return r.metric(t, name, labels...) == want })
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 2 minutes: %s", what)
		}
	}
}

// dial connects with a token.
func (w *world) dial(token string, options ...nats.Option) (*nats.Conn, error) {
	options = append([]nats.Option{
		nats.Token(token), nats.Timeout(20 * time.Second), nats.NoReconnect(), nats.IgnoreAuthErrorAbort(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}, options...)
	nc, err := nats.Connect(w.server.URL(), options...)
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(nc.Close)
	return nc, nil
}

func (w *world) connect(token string, options ...nats.Option) *nats.Conn {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; { // a busy machine drops requests
		nc, err := w.dial(token, options...)
		if err == nil {
			return nc
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("a good token is refused: %v", err)
		}
	}
}

// refused fails unless a login is refused.
func (w *world) refused(what, token string, options ...nats.Option) {
	w.t.Helper()
	if nc, err := w.dial(token, options...); err == nil {
		nc.Close()
		w.t.Errorf("%s: let in", what)
	} else if !errors.Is(err, nats.ErrAuthorization) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		w.t.Errorf("%s: refused with %v", what, err) // the server closes when it refuses, perhaps while the client writes
	}
}

// refused fails unless a login is refused, and that by the replica, for a reason. The server
// refuses by itself where a busy machine drops its request: then the client tries again.
func (r *replica) refused(w *world, what, token string, reason refusal.Reason) {
	w.t.Helper()
	decisions := func() float64 {
		return r.metric(w.t, "fleet_callout_decisions_total", fmt.Sprintf("%q", reason))
	}
	before := decisions()
	eventually(w.t, fmt.Sprintf("%s is refused for %s", what, reason), func() bool {
		w.refused(what, token)
		for until := time.Now().Add(5 * time.Second); decisions() == before && time.Now().Before(until); {
			time.Sleep(2 * time.Millisecond) // poll: it is counted once it was answered
		}
		return decisions() > before
	})
}

// append appends an event as the operator does.
func (w *world) append(subject string, t eventlog.Type, payload any) {
	w.t.Helper()
	d, err := eventlog.NewDraft(subject, t, time.Now(), payload)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.js.PublishMsg(w.t.Context(), d.Message("test", nats.NewInbox())); err != nil {
		w.t.Fatal(err)
	}
}

// events reads all events of logins.
func (w *world) events() (all []eventlog.Event) {
	w.t.Helper()
	for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{Subjects: []string{eventlog.FamilySubjects(eventlog.FamilyAuth)}}) {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// connections counts a user's connections, by the server's word.
func (w *world) connections(account, user string) int {
	w.t.Helper()
	nc, _ := w.server.Connect(w.t, nats.UserInfo("sys", "s"))
	defer nc.Close()
	m, err := nc.Request("$SYS.REQ.SERVER.PING.CONNZ", fmt.Appendf(nil, `{"acc":%q,"user":%q,"auth":true}`, account, user), 30*time.Second)
	if err != nil {
		w.t.Fatal(err)
	}
	var a struct {
		Data struct {
			Connections []struct{} `json:"connections"`
		} `json:"data"`
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		w.t.Fatal(err)
	}
	return len(a.Data.Connections)
}

func (w *world) lastSequence() uint64 {
	w.t.Helper()
	i, err := logstream.Inspect(w.t.Context(), w.js)
	if err != nil {
		w.t.Fatal(err)
	}
	return i.Last
}
