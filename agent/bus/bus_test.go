package bus_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/agent/bus"
	"fleet.nationtech.io/agent/command"
	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/testlog"
)

// small is a device on a server with a callout, without a fleet that talks to it.
type small struct {
	*bus.Bus
	t        *testing.T
	tokens   *tokens
	server   *natstest.Server
	fleet    *nats.Conn
	registry *prometheus.Registry
	log      testlog.Buffer
}

func startSmall(t *testing.T, o bus.Options, parts ...bus.Part) *small {
	t.Helper()
	s := &small{t: t, tokens: newTokens(), registry: prometheus.NewRegistry()}
	c := newCallout(t)
	s.server = natstest.Start(t, natstest.Config(t, c.config()))
	auth, _ := s.server.Connect(t, nats.UserInfo("callout", "x"))
	c.serve(auth)
	s.fleet, _ = s.server.Connect(t, nats.UserInfo("fleet", "x"))
	settings := config.Default()
	settings.DeviceID = device
	settings.NATS = config.NATS{URL: s.server.URL(), AllowPlaintext: true}
	settings.Auth.Mode = config.ModeZitadelJWT
	logger := slog.New(slog.NewTextHandler(&s.log, nil))
	dialer, err := bus.NewDialer(settings, s.tokens, &trust.Clock{}, logger)
	if err != nil {
		t.Fatal(err)
	}
	o.Dial, o.Show, o.Changed, o.Logger, o.Registerer = dialer.Dial, s.tokens.Show, s.tokens.changed, logger, s.registry
	if s.Bus, err = bus.New(o); err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if _, err := s.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestWithoutATokenNoServerIsBotheredAndTheFirstTokenIsUsedAtOnce(t *testing.T) {
	t.Parallel()
	s := startSmall(t, bus.Options{})
	if s.Connected() {
		t.Error("connected without a token")
	}
	if err := s.Publish("x", nil); err == nil {
		t.Error("something was said without a connection")
	}
	began := time.Now()
	s.tokens.issue(time.Hour)
	await(t, "a connection", s.Connected)
	t.Logf("connected after %v", time.Since(began))
	if s.tokens.refused != 0 {
		t.Errorf("a server refused the device %d times", s.tokens.refused)
	}
}

// The provider was away until after the token's end. The next token brings the
// device back at once, not after its back-off, which has grown meanwhile.
func TestAfterAnOutageTheNextTokenIsUsedAtOnce(t *testing.T) {
	t.Parallel()
	s := startSmall(t, bus.Options{})
	s.tokens.issue(10 * time.Second) // in which a busy machine comes to connect
	await(t, "a connection", s.Connected)
	await(t, "its end", func() bool { return !s.Connected() })
	await(t, "a back-off of seconds", func() bool { return strings.Count(s.log.String(), "no connection to NATS yet") > 4 })
	began := time.Now()
	s.tokens.issue(time.Hour)
	await(t, "a connection", s.Connected)
	t.Logf("connected after %v", time.Since(began))
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	if s.tokens.refused != 0 {
		t.Errorf("a server was asked %d times without a valid token", s.tokens.refused)
	}
}

// The old connection stays for what began on it, and no longer.
func TestAConnectionStaysForWhatBeganOnIt(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var links []*bus.Link
	var down []*bus.Link
	s := startSmall(t, bus.Options{Overlap: 10 * time.Millisecond}, bus.Part{
		Join: func(l *bus.Link) error {
			mu.Lock()
			defer mu.Unlock()
			links = append(links, l)
			return nil
		},
		Down: func(l *bus.Link) {
			mu.Lock()
			defer mu.Unlock()
			down = append(down, l)
		},
	})
	count := func(all *[]*bus.Link) int {
		mu.Lock()
		defer mu.Unlock()
		return len(*all)
	}
	s.tokens.issue(time.Hour)
	await(t, "a connection", s.Connected)
	mu.Lock()
	first := links[0]
	mu.Unlock()
	release := first.Hold()
	s.tokens.issue(time.Hour)
	await(t, "a second connection", func() bool { return count(&links) == 2 })
	await(t, "the rollover", func() bool { return strings.Contains(s.log.String(), "took the place") })
	time.Sleep(100 * time.Millisecond) // ten times the overlap: nothing may happen now
	if count(&down) != 0 || first.Closed() {
		t.Error("the connection ended although something holds it")
	}
	if err := first.Publish(nats.NewMsg(eventlog.StateSubject(device, "web"))); err != nil {
		t.Errorf("nothing can be said on it: %v", err)
	}
	release()
	release() // a second time changes nothing
	await(t, "its end", func() bool { return first.Closed() && count(&down) == 1 })
	mu.Lock()
	second := links[1]
	mu.Unlock()
	if !s.Connected() || second.Closed() {
		t.Error("the new connection ended")
	}
}

// The agent's own commands are answered once each, while two connections hear
// them all the time.
func TestACommandThatTwoConnectionsHearIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	var twice sync.WaitGroup
	twice.Add(1)
	var heard sync.Map
	done := sync.OnceFunc(twice.Done)
	s := startSmall(t, bus.Options{Overlap: time.Hour}, bus.Part{Join: func(l *bus.Link) error {
		_, err := l.Subscribe(eventlog.DeviceCommandSubject(device, eventlog.Wildcard), 64, func(m *nats.Msg) {
			if _, before := heard.LoadOrStore(m.Reply, true); before {
				done()
			}
		})
		return err
	}})
	commands, err := command.New(command.Options{Device: device, Version: "1", Bus: s.Bus})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- commands.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	s.tokens.issue(time.Hour)
	await(t, "a connection", s.Connected)
	s.tokens.issue(time.Hour)
	await(t, "the rollover", func() bool { return strings.Contains(s.log.String(), "took the place") })
	inbox := s.fleet.NewInbox()
	answers, err := s.fleet.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for range 50 {
		if err := s.fleet.PublishRequest(eventlog.DeviceCommandSubject(device, eventlog.VerbPing), inbox, nil); err != nil {
			t.Fatal(err)
		}
		want = append(want, "pong")
		if _, err := answers.NextMsg(30 * time.Second); err != nil {
			t.Fatal(err)
		}
		got = append(got, "pong")
	}
	twice.Wait()
	if m, err := answers.NextMsg(200 * time.Millisecond); err == nil {
		got = append(got, string(m.Data))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("(-want +got)\n" + diff)
	}
}

// A part that does not get ready, such as a sync that nobody answers, holds a
// rollover up for a time, and does not stop it.
func TestARolloverWaitsForThePartsForATime(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		timeout time.Duration
		ready   func(context.Context, chan struct{}) error
		waits   bool
	}{
		"a part that gets ready is waited for": {time.Hour, func(ctx context.Context, start chan struct{}) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-start:
				return nil
			}
		}, true},
		"a part that never does is left": {50 * time.Millisecond, func(ctx context.Context, _ chan struct{}) error {
			<-ctx.Done()
			return ctx.Err()
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			may, asked := make(chan struct{}), make(chan struct{}, 10)
			s := startSmall(t, bus.Options{ReadyTimeout: tc.timeout, Overlap: time.Millisecond}, bus.Part{Ready: func(ctx context.Context, _ *bus.Link) error {
				asked <- struct{}{}
				return tc.ready(ctx, may)
			}})
			s.tokens.issue(time.Hour)
			await(t, "a connection", s.Connected)
			s.tokens.issue(time.Hour)
			<-asked
			over := func() bool { return strings.Contains(s.log.String(), "took the place") }
			if tc.waits {
				time.Sleep(50 * time.Millisecond) // nothing may happen now
				if over() {
					t.Error("the new connection took over before the part was ready")
				}
				close(may)
			}
			await(t, "the rollover", over)
		})
	}
}

func TestOnceForgetsTheOldestAlone(t *testing.T) {
	t.Parallel()
	var once bus.Once
	name := func(n int) string { return strings.Repeat("x", n%7) + time.Duration(n).String() }
	for n := range 10_000 {
		if !once.First("a", name(n)) {
			t.Fatalf("%d is new", n)
		}
		if n > 100 && once.First("a", name(n-100)) {
			t.Fatalf("%d was heard", n-100)
		}
	}
	if !once.First("b", name(9_999)) {
		t.Error("another subject is another command")
	}
}
