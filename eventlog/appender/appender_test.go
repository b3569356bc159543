package appender_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
)

// electedAt is when the events of these tests happened.
var electedAt = time.Date(2026, 11, 24, 14, 3, 0, 0, time.UTC)

// delivery is a server or a cluster: what the appender promises holds on both.
type delivery struct {
	replicas int
	connect  func(testing.TB, ...nats.Option) (*nats.Conn, jetstream.JetStream)
}

func onBoth(t *testing.T, test func(*testing.T, delivery)) {
	t.Helper()
	t.Run("one server", func(t *testing.T) {
		t.Parallel()
		test(t, delivery{1, natstest.Start(t).Connect})
	})
	t.Run("three servers", func(t *testing.T) {
		t.Parallel()
		test(t, delivery{3, natstest.Cluster(t, 3).Connect})
	})
}

func (p delivery) log(t *testing.T) jetstream.JetStream {
	t.Helper()
	_, js := p.connect(t)
	natstest.EnsureLog(t, js, p.replicas)
	return js
}

func (p delivery) appender(t *testing.T) *appender.Appender {
	t.Helper()
	nc, _ := p.connect(t)
	a, err := appender.New(nc, appender.Options{Source: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// elect elects again where a stream of a cluster chooses its own leader just now.
func elect(t *testing.T, a *appender.Appender, who string) (token uint64) {
	t.Helper()
	natstest.Settle(t, func(ctx context.Context) (err error) {
		token, err = a.Elect(ctx, eventlog.Leader{Identity: who}, electedAt)
		return err
	})
	return token
}

func assignments(n int) []eventlog.Draft {
	ds := make([]eventlog.Draft, n)
	for i := range ds {
		ds[i] = eventlog.Draft{
			Subject: eventlog.DesiredSubject(fmt.Sprintf("d%d", i), "web"), Type: eventlog.DesiredAssigned, Time: electedAt,
			Namespace: "shop", Revision: 1, Data: []byte(`{"data":{},"type":"PodmanV0"}`),
		}
	}
	return ds
}

func countBySubject(t *testing.T, js jetstream.JetStream, f eventlog.Family) map[string]int {
	t.Helper()
	n := map[string]int{}
	for e, err := range reader.Read(t.Context(), js, reader.Options{Subjects: []string{eventlog.FamilySubjects(f)}}) {
		if err != nil {
			t.Fatal(err)
		}
		n[e.Address.Device]++
	}
	return n
}

func TestTheLeaderAppendsAll(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p delivery) {
		js := p.log(t)
		a := p.appender(t)
		token := elect(t, a, "a")
		last, err := a.Append(t.Context(), assignments(2500))
		if err != nil {
			t.Fatal(err)
		}
		if want := token + 2500; last != want {
			t.Errorf("last sequence %d, want %d", last, want)
		}
		if got := countBySubject(t, js, eventlog.FamilyDesired); len(got) != 2500 {
			t.Errorf("%d devices in the log, want 2500", len(got))
		}
	})
}

func TestADeposedLeaderIsRefused(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p delivery) {
		js := p.log(t)
		old, young := p.appender(t), p.appender(t)
		elect(t, old, "old")
		if _, err := old.Append(t.Context(), assignments(3)); err != nil {
			t.Fatal(err)
		}
		elect(t, young, "young")
		for _, n := range []int{1, 50} {
			if _, err := old.Append(t.Context(), assignments(n)); !errors.Is(err, appender.ErrDeposed) && !errors.Is(err, appender.ErrNotElected) {
				t.Errorf("the deposed leader's append of %d: %v, want ErrDeposed", n, err)
			}
		}
		if got := countBySubject(t, js, eventlog.FamilyDesired); len(got) != 3 {
			t.Errorf("%d assignments in the log, want the 3 from before", len(got))
		}
		if _, err := young.Append(t.Context(), assignments(2)); err != nil {
			t.Errorf("the new leader's append: %v", err)
		}
	})
}

func TestAnAppenderWithoutAnElectionMayNotAppend(t *testing.T) {
	t.Parallel()
	p := delivery{1, natstest.Start(t).Connect}
	p.log(t)
	if _, err := p.appender(t).Append(t.Context(), assignments(1)); !errors.Is(err, appender.ErrNotElected) {
		t.Errorf("append = %v, want ErrNotElected", err)
	}
}

func TestATooLargeEventIsRefusedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	p := delivery{1, natstest.Start(t).Connect}
	js := p.log(t)
	a := p.appender(t)
	elect(t, a, "a")
	ds := assignments(2)
	ds[1].Data = []byte(strings.Repeat("x", logstream.MaxMessageBytes))
	if _, err := a.Append(t.Context(), ds); !errors.Is(err, appender.ErrTooLarge) {
		t.Errorf("append = %v, want ErrTooLarge", err)
	}
	if got := countBySubject(t, js, eventlog.FamilyDesired); len(got) != 0 {
		t.Errorf("%d events were sent all the same", len(got))
	}
}

func TestAFullLogSaysSo(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p delivery) {
		js := p.log(t)
		size := logstream.Config{Replicas: p.replicas, MaxBytes: 64 << 10}
		natstest.Settle(t, func(ctx context.Context) error {
			_, err := logstream.Ensure(ctx, js, size)
			return err
		})
		a := p.appender(t)
		elect(t, a, "a")
		var err error
		for n := 0; err == nil && n < 500; n += 50 {
			_, err = a.Append(t.Context(), assignments(50))
		}
		if !errors.Is(err, appender.ErrLogFull) {
			t.Fatalf("append to a full log = %v, want ErrLogFull", err)
		}
		natstest.Settle(t, func(ctx context.Context) error { return logstream.OpenReserve(ctx, js, size) })
		if _, err := a.Append(t.Context(), assignments(1)); err != nil {
			t.Errorf("append into the reserve: %v", err)
		}
	})
}

// The appender loses its connection with appends outstanding: some are in the
// log, some are not, and it cannot know which. It may say nothing more before it
// has elected itself again; then it says what the log lacks: nothing is there
// twice.
func TestAfterALostAnswerNothingIsAppendedTwice(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p delivery) {
		js := p.log(t)
		nc, _ := p.connect(t, nats.ReconnectBufSize(-1))
		a, err := appender.New(nc, appender.Options{Source: "test"})
		if err != nil {
			t.Fatal(err)
		}
		at0 := elect(t, a, "a")
		all := assignments(20_000)
		said := 1 // times that each device was told
		for ; ; said++ {
			ctx, cancel := context.WithCancel(t.Context())
			cut := make(chan struct{})
			go func() {
				defer close(cut)
				for ctx.Err() == nil { // poll
					if info, err := logstream.Inspect(ctx, js); err == nil && info.Last >= at0+500 {
						_ = nc.ForceReconnect()
						return
					}
				}
			}()
			last, err := a.Append(t.Context(), all)
			cancel()
			<-cut
			if errors.Is(err, appender.ErrUncertain) {
				break
			}
			if err != nil || said == 10 {
				t.Fatalf("append %d over a cut connection = %v, want ErrUncertain", said, err)
			}
			at0 = last // the cut came too late to lose an answer
		}
		if _, err := a.Append(t.Context(), all[:1]); !errors.Is(err, appender.ErrNotElected) {
			t.Errorf("append before a new election = %v, want ErrNotElected", err)
		}
		token := uint64(0)
		for token == 0 {
			if token, err = a.Elect(t.Context(), eventlog.Leader{Identity: "a"}, electedAt); err != nil && t.Context().Err() != nil {
				t.Fatal(err)
			}
		}
		have := countBySubject(t, js, eventlog.FamilyDesired)
		var missing []eventlog.Draft
		for _, d := range all {
			addr, err := eventlog.ParseSubject(d.Subject)
			if err != nil {
				t.Fatal(err)
			}
			if have[addr.Device] < said {
				missing = append(missing, d)
			}
		}
		if len(missing) == 0 {
			t.Error("the log lacks nothing: the connection was not cut in the middle")
		}
		if _, err := a.Append(t.Context(), missing); err != nil {
			t.Fatal(err)
		}
		got := countBySubject(t, js, eventlog.FamilyDesired)
		if len(got) != len(all) {
			t.Errorf("%d devices in the log, want %d", len(got), len(all))
		}
		for device, n := range got {
			if n != said {
				t.Errorf("%s was told %d times, want %d", device, n, said)
			}
		}
	})
}

// A device that holds as many batches open as the server allows keeps the leader
// from opening one: it goes on with single appends.
func TestWhereNoBatchCanBeOpenedTheLeaderAppendsOneByOne(t *testing.T) {
	t.Parallel()
	held := func(o *server.Options) { o.JetStreamLimits.MaxBatchTimeout = time.Hour } // on a busy machine 10 s are soon over
	p := delivery{3, natstest.Cluster(t, 3, held).Connect}
	js := p.log(t)
	a := p.appender(t)
	elect(t, a, "a")
	hostile, _ := p.connect(t)
	for i := range 60 {
		m := &nats.Msg{Subject: eventlog.StateSubject("evil", "web"), Header: nats.Header{"Nats-Batch-Id": {fmt.Sprintf("evil-%d", i)}, "Nats-Batch-Sequence": {"1"}}}
		if _, err := natstest.Request(hostile, m, 30*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	last, err := a.Append(t.Context(), assignments(20))
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), eventlog.LogStream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetMsg(t.Context(), last)
	if err != nil {
		t.Fatal(err)
	}
	if id := m.Header.Get("Nats-Batch-Id"); id != "" {
		t.Errorf("the leader got its batch %s: the attack did not hold them all", id)
	}
	if got := countBySubject(t, js, eventlog.FamilyDesired); len(got) != 20 {
		t.Errorf("%d devices in the log, want 20", len(got))
	}
}

// A hostile writer can set any header on the messages that it may publish. It
// may slow the leader; it can neither stop nor depose it.
func TestAHostileWriterNeitherStopsNorDeposesTheLeader(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p delivery) {
		js := p.log(t)
		a := p.appender(t)
		token := elect(t, a, "a")
		hostile, _ := p.connect(t)
		ctx, cancel := context.WithCancel(t.Context())
		var attacks sync.WaitGroup
		attack := func(f func(i int) *nats.Msg) {
			attacks.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					m := f(i)
					m.Subject, m.Data = eventlog.StateSubject("evil", "web"), []byte(`{"device_id":"evil","deployment":"web","phase":"Running"}`)
					if _, err := natstest.Request(hostile, m, 100*time.Millisecond); err != nil && ctx.Err() == nil && !errors.Is(err, nats.ErrTimeout) {
						t.Errorf("attack: %v", err)
						return
					}
				}
			})
		}
		attack(func(i int) *nats.Msg { // holds open as many batches as it can
			return &nats.Msg{Header: nats.Header{"Nats-Batch-Id": {fmt.Sprintf("evil-%d", i%60)}, "Nats-Batch-Sequence": {"1"}}}
		})
		attack(func(int) *nats.Msg { // claims the fence
			return &nats.Msg{Header: nats.Header{
				"Nats-Expected-Last-Subject-Sequence": {fmt.Sprint(token)}, "Nats-Expected-Last-Subject-Sequence-Subject": {eventlog.LeaderSubject},
			}}
		})
		attack(func(i int) *nats.Msg { // burns ids that it guesses
			return &nats.Msg{Header: nats.Header{"Nats-Msg-Id": {fmt.Sprintf("shop/web@1/d%d", i)}}}
		})
		for round := range 5 {
			bounded, stop := context.WithTimeout(t.Context(), 60*time.Second)
			_, err := a.Append(bounded, assignments(40))
			stop()
			if err != nil {
				t.Fatalf("round %d: the leader's append: %v", round, err)
			}
			natstest.ReportState(t, js, "good", "web")
		}
		cancel()
		attacks.Wait()
		if got := countBySubject(t, js, eventlog.FamilyState); got["good"] != 5 {
			t.Errorf("%d reports of the good device are in the log, want 5", got["good"])
		}
		for device, n := range countBySubject(t, js, eventlog.FamilyDesired) {
			if n != 5 {
				t.Errorf("%s was told %d times, want 5", device, n)
			}
		}
	})
}
