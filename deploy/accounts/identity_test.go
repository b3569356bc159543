package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/callout/providertest"
	"fleet.nationtech.io/callout/responder"
	"fleet.nationtech.io/callout/service"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
)

// identities is a world whose servers ask a running callout.
type identities struct {
	*world
	provider *providertest.Provider
	server   *natstest.Server
}

func newIdentities(t *testing.T) *identities {
	t.Helper()
	dir := t.TempDir()
	names := accounts.Names{Operator: "operator", System: "sys", Callout: true}
	u, err := accounts.LoadUsers(filepath.Join(dir, "passwords.json"), names)
	if err != nil {
		t.Fatal(err)
	}
	if u.Callout.Issuer, u.Callout.XKey, err = accounts.LoadCalloutKeys(dir); err != nil {
		t.Fatal(err)
	}
	u.Operator.Password = "p"
	text, err := accounts.Render(u, accounts.RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rendered := accounts.Server{Name: "n", Port: -1, StoreDir: t.TempDir()}.Render()
	s := natstest.Start(t, natstest.Config(t, string(rendered)+string(text)))
	w := &identities{world: &world{t: t, connect: s.Connect}, provider: providertest.Start(t), server: s}
	w.ready(1)
	w.callout(dir, u.Callout)
	return w
}

// callout runs a replica until it takes requests.
func (w *identities) callout(dir string, c *accounts.Callout) {
	w.t.Helper()
	seed := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			w.t.Fatal(err)
		}
		return b
	}
	replica, err := service.New(service.Options{
		URL: w.server.URL(), Auth: service.Login(c.Answers), Log: service.Login(c.Log), System: service.Login(c.System),
		Keys:   responder.Keys{Issuers: [][]byte{seed(accounts.IssuerSeedFile)}, XKeys: [][]byte{seed(accounts.XKeySeedFile)}},
		Issuer: w.provider.Issuer(), Project: providertest.Project, DeviceOrganization: providertest.Devices,
		Organizations: []string{providertest.People}, Roles: service.DefaultRoles(), Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := replica.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	w.t.Cleanup(func() { cancel(); <-ended })
	eventually(w.t, "the callout takes requests", func() bool { return w.server.Subscriptions(w.t, eventlog.AuthRequestSubject) == 1 })
}

// by connects with a token, as the given inbox.
func (w *identities) by(d *providertest.Draft, inbox string, options ...nats.Option) *nats.Conn {
	w.t.Helper()
	options = append([]nats.Option{
		nats.Token(d.Token(w.t)), nats.CustomInboxPrefix(eventlog.InboxPrefix(inbox)), nats.Timeout(20 * time.Second), nats.MaxReconnects(-1),
	}, options...)
	var nc *nats.Conn
	eventually(w.t, inbox+" is let in", func() bool { // the server waits for the callout's answer for less than a busy machine may take
		var err error
		nc, err = nats.Connect(w.server.URL(), options...)
		return err == nil
	})
	w.t.Cleanup(nc.Close)
	return nc
}

func TestAViewerReadsTheFleetWithoutJetStream(t *testing.T) {
	t.Parallel()
	w := newIdentities(t)
	nc := w.by(w.provider.Person("17", "viewer"), "person-17")
	heard, err := nc.SubscribeSync(eventlog.LogSubjects)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		w.append(assigned(victim, "web"))
	}
	for range 10 {
		if _, err := heard.NextMsg(timeout); err != nil {
			t.Fatalf("following the log: %v", err)
		}
	}
	ask := func(subject, body string) *nats.Msg {
		t.Helper()
		m, err := nc.Request(subject, []byte(body), timeout)
		if err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
		return m
	}
	if m := ask(eventlog.PeopleStreamInfoAPI(eventlog.LogStream), ""); len(m.Data) == 0 {
		t.Error("no information about the log")
	}
	desired := eventlog.BucketStream(eventlog.BucketDesired)
	key := eventlog.KVSubject(eventlog.BucketDesired, eventlog.DesiredKey(victim, "web"))
	eventually(t, "the bucket has the value", func() bool {
		return ask(eventlog.DirectGetAPI(desired, key), "").Header.Get("Status") == ""
	})
	// A batch, to its end.
	inbox := nc.NewInbox()
	batch, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishRequest(eventlog.DirectGetAPIs(eventlog.LogStream)[0], inbox, []byte(`{"seq":1,"batch":100}`)); err != nil {
		t.Fatal(err)
	}
	read := 0
	for {
		m, err := batch.NextMsg(timeout)
		if err != nil {
			t.Fatalf("a batched direct get, after %d messages: %v", read, err)
		}
		if m.Header.Get("Status") == "204" {
			break
		}
		read++
	}
	if read < 10 {
		t.Errorf("a batched direct get gave %d messages, want at least 10", read)
	}
}

func TestAnOperatorAsksAndCommandsUnderItsOwnName(t *testing.T) {
	t.Parallel()
	w := newIdentities(t)
	device := w.by(w.provider.Device(victim), victim)
	asked := make(chan *nats.Msg, 4)
	if _, err := device.Subscribe(eventlog.DeviceCommandSubject(victim, eventlog.Wildcard), func(m *nats.Msg) {
		asked <- m
		_ = m.Respond([]byte("pong"))
	}); err != nil {
		t.Fatal(err)
	}
	if err := device.Flush(); err != nil {
		t.Fatal(err)
	}
	nc := w.by(w.provider.Person("18", "operator"), "person-18")
	if m, err := nc.Request(eventlog.DeviceCommandSubject(victim, eventlog.VerbPing), nil, timeout); err != nil || string(m.Data) != "pong" {
		t.Fatalf("a command: %v", err)
	}
	info, err := eventlog.RequestInfoOf((<-asked).Header)
	if want := (eventlog.RequestInfo{Account: eventlog.AccountPeople, User: "person-18", Kind: eventlog.KindClient}); err != nil || info != want {
		t.Errorf("the device hears that %+v asks, want %+v; %v", info, want, err)
	}
	for _, subject := range []string{eventlog.RequestSubject("person-18", "shop", "web"), eventlog.DeviceRequestSubject("person-18", victim)} {
		if m, err := nc.Request(subject, []byte(`{}`), timeout); err != nil {
			t.Errorf("%s: %v", subject, err)
		} else if string(m.Data) == "" {
			t.Errorf("%s: no acknowledgement", subject)
		}
	}
}

// The forged reply by which a viewer in account FLEET had stored messages copied to
// any subject of the log. In account PEOPLE its answers end in that account.
func TestAForgedReplyOfAPersonChangesNothing(t *testing.T) {
	t.Parallel()
	w := newIdentities(t)
	// A report without Nats-Msg-Id: the log takes a copy of it at once, where it takes
	// one of another event only after its duplicate window.
	report := nats.NewMsg(eventlog.StateSubject(mallory, "web"))
	report.Header.Set(eventlog.HeaderType, eventlog.CloudEventType(eventlog.AccessRevoked, 1))
	report.Data = []byte(`{"reason":"Forged"}`)
	if _, err := w.js.PublishMsg(t.Context(), report); err != nil {
		t.Fatal(err)
	}
	w.append(assigned(mallory, "web"))
	device := w.by(w.provider.Device(victim), victim)
	heard := make(chan *nats.Msg, 4096)
	for _, s := range []string{"fleet.live.desired.victim.*", "device-commands.victim.*", "_INBOX.victim.>"} {
		if _, err := device.ChanSubscribe(s, heard); err != nil {
			t.Fatal(err)
		}
	}
	if err := device.Flush(); err != nil {
		t.Fatal(err)
	}
	before := w.logged()
	aims := []string{"fleet.restoring", "_INBOX.victim.guess", "_INBOX.callout.guess", "_INBOX.person-99.x", "device-commands.victim.exec", "fleet.live.desired.victim.x", "$JS.API.STREAM.DELETE.FLEET", "$KV.desired-state.victim.web"}
	for _, f := range eventlog.Families() {
		switch f {
		case eventlog.FamilyLeader, eventlog.FamilySeal:
			aims = append(aims, eventlog.FamilySubjects(f))
		case eventlog.FamilyDesired, eventlog.FamilyState:
			aims = append(aims, fmt.Sprintf("fleet.evt.%s.victim.web", f))
		case eventlog.FamilyDeployment:
			aims = append(aims, "fleet.evt.deployment.shop.web")
		case eventlog.FamilyRequest:
			aims = append(aims, "fleet.evt.request.operator.shop.web", "fleet.evt.request.person-99.shop.web", "fleet.evt.request.operator.victim")
		default:
			aims = append(aims, fmt.Sprintf("fleet.evt.%s.victim", f))
		}
	}
	attacks := 0
	for _, role := range []string{"viewer", "operator"} {
		nc := w.by(w.provider.Person("17", role), "person-17", nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		for _, s := range eventlog.ReadableStreams() {
			for _, body := range []string{`{"seq":1}`, `{"seq":1,"batch":10}`, `{"last_by_subj":"fleet.evt.state.mallory.web"}`, `{"multi_last":["fleet.evt.>"]}`} {
				for _, aim := range aims {
					if err := nc.PublishRequest(eventlog.DirectGetAPIs(s)[0], aim, []byte(body)); err != nil {
						t.Fatal(err)
					}
					attacks++
				}
			}
		}
		for _, s := range eventlog.ReadableStreams() {
			for _, aim := range aims {
				if err := nc.PublishRequest(eventlog.PeopleMessageGetAPI(s), aim, []byte(`{"seq":1}`)); err != nil {
					t.Fatal(err)
				}
				attacks++
			}
		}
		for _, aim := range aims {
			for _, subject := range []string{eventlog.UserInfoAPI, eventlog.PeopleStreamInfoAPI(eventlog.LogStream), eventlog.DirectGetAPI(eventlog.LogStream, "fleet.evt.state.mallory.web"), eventlog.SyncSubject(mallory)} {
				if err := nc.PublishRequest(subject, aim, nil); err != nil {
					t.Fatal(err)
				}
				attacks++
			}
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	// All that was asked has been answered when what is asked after it is.
	last := w.by(w.provider.Person("17", "viewer"), "person-17")
	if _, err := last.Request(eventlog.DirectGetAPIs(eventlog.LogStream)[0], []byte(`{"seq":1}`), timeout); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond) // answers that were aimed arrive, if they do
	after := w.logged()
	for _, m := range []map[string]uint64{before, after} {
		for s := range m {
			if a, err := eventlog.ParseSubject(s); err == nil && a.Family == eventlog.FamilyAuth {
				delete(m, s) // what the callout records
			}
		}
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the log changed (-before +after):\n%s", diff)
	}
	for len(heard) > 0 {
		m := <-heard
		info, err := eventlog.RequestInfoOf(m.Header)
		if !errors.Is(err, eventlog.ErrNoRequestInfo) && info.Account != "PEOPLE" {
			t.Errorf("the device heard %s from %+v", m.Subject, info)
		}
		if m.Subject != "device-commands.victim.exec" {
			t.Errorf("the device heard %s", m.Subject)
		}
	}
	t.Logf("%d forged replies", attacks)

	// In account FLEET the same trick writes an event, or this test shows nothing.
	if err := w.nc.PublishRequest(eventlog.DirectGetAPIs(eventlog.LogStream)[0], eventlog.AccessSubject(victim), []byte(`{"last_by_subj":"fleet.evt.state.mallory.web"}`)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the trick works in account FLEET", func() bool { return w.logged()[eventlog.AccessSubject(victim)] == 1 })
	for e, err := range reader.Read(soon(t), w.js, reader.Options{Subjects: []string{eventlog.AccessSubject(victim)}}) {
		if !errors.Is(err, eventlog.ErrForeign) {
			t.Errorf("the copy reads as event %d: %v", e.Sequence, err)
		}
	}
}

func TestTheCalloutsSecretsAreMadeOnceAndKeptPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	issuer, xkey, err := accounts.LoadCalloutKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, xagain, err := accounts.LoadCalloutKeys(dir)
	if err != nil || again != issuer || xagain != xkey {
		t.Errorf("the keys changed: %s %s, before %s %s; %v", again, xagain, issuer, xkey, err)
	}
	for _, name := range []string{accounts.IssuerSeedFile, accounts.XKeySeedFile} {
		i, err := os.Stat(filepath.Join(dir, name))
		if err != nil || i.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, i, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, accounts.IssuerSeedFile), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := accounts.LoadCalloutKeys(dir); err == nil {
		t.Error("a broken seed is read")
	}
}
