package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"fleet.nationtech.io/agent/bus"
	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/session"
	"fleet.nationtech.io/agent/store"
	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/pause"
)

// Over many rollovers, while requests, live values, commands and streamed
// commands go on, nothing is lost, nothing is doubled, and nothing is later by
// seconds than what goes on beside it on a connection that never changes.
func TestOverManyRolloversNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		servers, rollovers int
	}{
		"one server":    {1, 20},
		"three servers": {3, 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.servers)
			var group sync.WaitGroup
			ctx, stop := context.WithCancel(t.Context())
			for _, work := range []func(context.Context){w.report, w.say, w.ping, w.stream, w.control} {
				group.Go(func() { work(ctx) })
			}
			for range tc.rollovers {
				before := w.rollovers()
				w.tokens.issue(tokenLife)
				await(t, "a rollover", func() bool { return w.rollovers() > before })
				pause.For(t.Context(), 1500*time.Millisecond)
			}
			stop()
			group.Wait()
			w.judge()
		})
	}
}

// tokenLife leaves a loaded machine time for a rollover.
const tokenLife = time.Minute

// late is by how much a rollover makes something too late: a connection that was lost is tried
// again after up to 15 s. A busy machine lets single goroutines stand still for seconds.
const late = 5 * time.Second

// world is a device on real servers with accounts and a callout, and a fleet that
// talks to it.
type world struct {
	t        *testing.T
	tokens   *tokens
	fleet    *nats.Conn
	js       jetstream.JetStream
	bus      *bus.Bus
	registry *prometheus.Registry
	store    *desired

	reports, pings, streams, live atomic.Int64
	worst                         struct{ report, ping, stream, live, control atomic.Int64 } // microseconds
	said                          sync.Map                                                   // sequence of a live value: when it was said
	heardTwice                    atomic.Int64
}

func newWorld(t *testing.T, servers int) *world {
	t.Helper()
	w := &world{t: t, tokens: newTokens(), registry: prometheus.NewRegistry()}
	c := newCallout(t)
	var url string
	var connect func(testing.TB, ...nats.Option) (*nats.Conn, jetstream.JetStream)
	if servers == 1 {
		s := natstest.Start(t, natstest.Config(t, c.config()))
		url, connect = s.URL(), s.Connect
	} else {
		s := natstest.Cluster(t, servers, natstest.Config(t, c.config()))
		url, connect = s.URL(), s.Connect
	}
	auth, _ := connect(t, nats.UserInfo("callout", "x"))
	c.serve(auth)
	w.fleet, w.js = connect(t, nats.UserInfo("fleet", "x"))
	natstest.Settle(t, func(ctx context.Context) error { // on one server: of several, those that elect lose a report themselves
		_, err := logstream.Ensure(ctx, w.js, logstream.Config{})
		return err
	})
	w.store = &desired{}
	w.answerSyncs()

	w.tokens.issue(tokenLife)
	settings := config.Default()
	settings.DeviceID = device
	settings.NATS = config.NATS{URL: url, AllowPlaintext: true}
	settings.Auth.Mode = config.ModeZitadelJWT
	dialer, err := bus.NewDialer(settings, w.tokens, &trust.Clock{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if w.bus, err = bus.New(bus.Options{
		Dial: dialer.Dial, Show: w.tokens.Show, Changed: w.tokens.changed, Overlap: 200 * time.Millisecond, Registerer: w.registry,
	}); err != nil {
		t.Fatal(err)
	}
	for _, part := range []bus.Part{w.commands(), w.listen()} {
		if _, err := w.bus.Add(part); err != nil {
			t.Fatal(err)
		}
	}
	follow, err := session.New(session.Options{Device: device, Bus: w.bus, Store: w.store, Registerer: w.registry})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	for _, run := range []func(context.Context) error{w.bus.Run, follow.Run} {
		go func() { done <- run(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
	})
	await(t, "the first connection, and the desired state", func() bool { return w.bus.Connected() && w.store.answered() })
	return w
}

func (w *world) rollovers() float64 {
	return w.metric("fleet_agent_connection_rollovers_total")
}

func (w *world) metric(name string) (sum float64) {
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func atMost(worst *atomic.Int64, began time.Time) {
	took := time.Since(began).Microseconds()
	for old := worst.Load(); took > old && !worst.CompareAndSwap(old, took); old = worst.Load() {
	}
}

// report sends reports, each once: one that gets no answer is lost.
func (w *world) report(ctx context.Context) {
	for ctx.Err() == nil {
		m := nats.NewMsg(eventlog.StateSubject(device, "web"))
		m.Header.Set(jetstream.MsgIDHeader, ulid.Make().String())
		m.Data = []byte(`{"device_id":"pi-01","deployment":"web","phase":"Running"}`)
		began := time.Now()
		brief, cancel := context.WithTimeout(context.Background(), time.Minute)
		answer, err := w.bus.Request(brief, m)
		cancel()
		var ack struct{ Seq uint64 }
		if err != nil || json.Unmarshal(answer.Data, &ack) != nil || ack.Seq == 0 {
			w.t.Errorf("report %d: %v", w.reports.Load()+1, err)
			continue
		}
		w.reports.Add(1)
		atMost(&w.worst.report, began)
		pause.For(ctx, 5*time.Millisecond)
	}
}

// say sends live values, as a server republishes them.
func (w *world) say(ctx context.Context) {
	for n := int64(1); ctx.Err() == nil; n++ {
		m := nats.NewMsg(eventlog.LiveSubject(device, "web"))
		m.Data = fmt.Appendf(nil, "{%d}", n)
		m.Header.Set(eventlog.HeaderSubject, "$KV.desired-state."+device+".web")
		m.Header.Set(eventlog.HeaderStreamSource, fmt.Sprintf("FLEET %d", 10+n))
		m.Header.Set(eventlog.HeaderSequence, strconv.FormatInt(n, 10))
		m.Header.Set(eventlog.HeaderLastSequence, strconv.FormatInt(n-1, 10))
		w.said.Store(uint64(10+n), time.Now())
		if err := w.fleet.PublishMsg(m); err != nil {
			w.t.Error(err)
		}
		w.live.Add(1)
		pause.For(ctx, 5*time.Millisecond)
	}
}

// listen hears live values beside the session, which leaves out one that a newer
// one has overtaken on the other connection.
func (w *world) listen() bus.Part {
	return bus.Part{Join: func(l *bus.Link) error {
		_, err := l.Subscribe(eventlog.LiveSubject(device, eventlog.Wildcard), 1024, func(m *nats.Msg) {
			_, sequence, _ := eventlog.SourceOf(m.Header)
			if at, first := w.said.LoadAndDelete(sequence); first {
				atMost(&w.worst.live, at.(time.Time))
			}
		})
		return err
	}}
}

// answerSyncs answers with the one value that was there before all others, so
// that only the live feed can say what is new.
func (w *world) answerSyncs() {
	if _, err := w.fleet.Subscribe(eventlog.SyncSubject(device), func(q *nats.Msg) {
		value, end := nats.NewMsg(q.Reply), nats.NewMsg(q.Reply)
		for _, m := range []*nats.Msg{value, end} {
			m.Header.Set(eventlog.HeaderSync, q.Header.Get(eventlog.HeaderSync))
		}
		value.Data = []byte("{0}")
		value.Header.Set(eventlog.HeaderKey, eventlog.DesiredKey(device, "web"))
		value.Header.Set(eventlog.HeaderStreamSource, "FLEET 5")
		end.Header.Set(eventlog.HeaderSyncEnd, "true")
		end.Data, _ = json.Marshal(eventlog.SyncEnd{LogID: "A", LogSequence: 1 << 40, Count: 1})
		for _, m := range []*nats.Msg{value, end} {
			if err := w.fleet.PublishMsg(m); err != nil {
				w.t.Error(err)
			}
		}
	}); err != nil {
		w.t.Fatal(err)
	}
	if err := w.fleet.Flush(); err != nil {
		w.t.Fatal(err)
	}
}

const (
	streamed = 40 // messages of a streamed command
	between  = 10 * time.Millisecond
)

// commands answers a ping once, and other verbs by a stream of messages, as long
// commands do: beside the goroutine that heard them.
func (w *world) commands() bus.Part {
	var once bus.Once
	return bus.Part{Join: func(l *bus.Link) error {
		_, err := l.Subscribe(eventlog.DeviceCommandSubject(device, eventlog.Wildcard), 64, func(m *nats.Msg) {
			if !once.First(m.Subject, m.Reply) {
				w.heardTwice.Add(1)
				return
			}
			release := l.Hold()
			go func() {
				defer release()
				n := 1
				if !strings.HasSuffix(m.Subject, eventlog.VerbPing) {
					n = streamed
				}
				for i := range n {
					if i > 0 {
						time.Sleep(between) // the pace of a log
					}
					if err := m.Respond([]byte(strconv.Itoa(i))); err != nil {
						w.t.Errorf("answer %d: %v", i, err)
					}
				}
			}()
		})
		return err
	}}
}

// ping asks for a ping and counts its answers: there is one.
func (w *world) ping(ctx context.Context) {
	for ctx.Err() == nil {
		w.command(eventlog.VerbPing, 1, &w.worst.ping)
		w.pings.Add(1)
		pause.For(ctx, 5*time.Millisecond)
	}
}

// stream asks for streams, one after the other.
func (w *world) stream(ctx context.Context) {
	for ctx.Err() == nil {
		w.command(eventlog.VerbLogs, streamed, &w.worst.stream)
		w.streams.Add(1)
	}
}

// control measures what the machine makes late by itself, in its pauses too: the whole
// process may stand still then.
func (w *world) control(ctx context.Context) {
	sub, err := w.fleet.Subscribe("control", func(m *nats.Msg) { _ = m.Respond(nil) }) // a lost answer is seen below
	if err != nil {
		w.t.Error(err)
		return
	}
	defer func() { _ = sub.Unsubscribe() }()
	for began := time.Now(); ctx.Err() == nil; began = time.Now() {
		pause.For(ctx, 5*time.Millisecond)
		if _, err := w.fleet.Request("control", nil, time.Minute); err != nil {
			w.t.Error(err)
		}
		atMost(&w.worst.control, began)
	}
}

func (w *world) command(verb string, want int, worst *atomic.Int64) {
	inbox := w.fleet.NewInbox()
	answers := make(chan *nats.Msg, 1000)
	sub, err := w.fleet.ChanSubscribe(inbox, answers)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := w.fleet.PublishRequest(eventlog.DeviceCommandSubject(device, verb), inbox, nil); err != nil {
		w.t.Error(err)
	}
	last := time.Now()
	for i := range want {
		select {
		case m := <-answers:
			if string(m.Data) != strconv.Itoa(i) {
				w.t.Errorf("%s: answer %d is %q (%v)", verb, i, m.Data, m.Header)
				return
			}
			atMost(worst, last)
			last = time.Now()
		case <-time.After(time.Minute):
			w.t.Errorf("%s: answer %d never came", verb, i)
			return
		}
	}
	select {
	case m := <-answers:
		w.t.Errorf("%s: one answer too many: %q", verb, m.Data)
	case <-time.After(2 * time.Millisecond): // a doubled answer comes with the one before it
	}
}

func (w *world) judge() {
	await(w.t, "the last live value", func() bool { return w.store.last() == uint64(10+w.live.Load()) })
	w.said.Range(func(sequence, _ any) bool {
		w.t.Errorf("live value %d was lost", sequence)
		return true
	})
	var has uint64
	natstest.Settle(w.t, func(ctx context.Context) error {
		log, err := logstream.Inspect(ctx, w.js)
		has = log.Last
		return err
	})
	if int64(has) != w.reports.Load() {
		w.t.Errorf("the log has %d reports of %d", has, w.reports.Load())
	}
	if n := w.store.twice(); n > 0 {
		w.t.Errorf("the session took %d live values twice", n)
	}
	if gaps, err := testutil.GatherAndCount(w.registry, "fleet_agent_live_gaps_total"); err != nil || gaps != 1 || w.metric("fleet_agent_live_gaps_total") != 0 {
		w.t.Errorf("the session saw %v gaps (%v)", w.metric("fleet_agent_live_gaps_total"), err)
	}
	ms := func(v *atomic.Int64) string { return fmt.Sprintf("%.1f ms", float64(v.Load())/1000) }
	w.t.Logf("%v rollovers: %d reports, slowest %s; %d live values, slowest %s; %d pings, slowest %s; %d streams of %d, longest silence %s; %d commands heard twice; the slowest beside it %s",
		w.rollovers(), w.reports.Load(), ms(&w.worst.report), w.live.Load(), ms(&w.worst.live), w.pings.Load(), ms(&w.worst.ping),
		w.streams.Load(), streamed, ms(&w.worst.stream), w.heardTwice.Load(), ms(&w.worst.control))
	for what, worst := range map[string]*atomic.Int64{"report": &w.worst.report, "live value": &w.worst.live, "ping": &w.worst.ping, "streamed answer": &w.worst.stream} {
		if worst.Load() > w.worst.control.Load()+late.Microseconds() {
			w.t.Errorf("the slowest %s took %s, and %s beside it", what, ms(worst), ms(&w.worst.control))
		}
	}
}

// desired is a store without a file.
type desired struct {
	mu       sync.Mutex
	position store.Position
	sequence uint64 // of the last change
	again    int    // changes that were there before
}

func (d *desired) answered() bool { return d.Position().LogID != "" }

func (d *desired) last() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sequence
}

func (d *desired) twice() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.again
}

func (d *desired) Desired() []store.Desired { return nil }

func (d *desired) Position() store.Position {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.position
}

func (d *desired) Apply(changes []store.Desired, p store.Position) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.position = p
	for _, c := range changes {
		if c.Sequence <= d.sequence {
			d.again++
		}
		d.sequence = max(d.sequence, c.Sequence)
	}
	return nil
}
