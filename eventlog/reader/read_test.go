package reader_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
)

func read(t testing.TB, js jetstream.JetStream, o reader.Options) []string {
	t.Helper()
	var got []string
	for e, err := range reader.Read(t.Context(), js, o) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			t.Fatal(err)
		}
		mark := ""
		if err != nil {
			mark = " foreign"
		}
		got = append(got, fmt.Sprintf("%d %s%s", e.Sequence, e.Address.Device, mark))
	}
	return got
}

// way gives a way to read what a JetStream has.
type way func(jetstream.JetStream) jetstream.JetStream

// eachWay runs a test by a consumer, and by direct gets, as account PEOPLE reads.
func eachWay(t *testing.T, test func(*testing.T, way)) {
	t.Helper()
	t.Run("by a consumer", func(t *testing.T) {
		test(t, func(js jetstream.JetStream) jetstream.JetStream { return js })
	})
	t.Run("by direct gets", func(t *testing.T) {
		test(t, func(js jetstream.JetStream) jetstream.JetStream {
			t.Helper()
			return peoples(t, js)
		})
	})
}

// peoples is what account PEOPLE has, for the connection of another.
func peoples(t testing.TB, js jetstream.JetStream) jetstream.JetStream {
	t.Helper()
	p, err := reader.People(js.Conn())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestReadGivesWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, as way) {
		t.Parallel()
		_, js := natstest.Start(t, natstest.PeoplesAPI(t)).Connect(t)
		natstest.EnsureLog(t, js, 1)
		for i := range 6 {
			natstest.ReportState(t, js, fmt.Sprintf("d%d", i%2), "web")
		}
		if _, err := js.Publish(t.Context(), "fleet.evt.device.d9", []byte("not an event")); err != nil {
			t.Fatal(err)
		}
		tests := map[string]struct {
			o    reader.Options
			want []string
		}{
			"all, foreign messages told apart": {reader.Options{}, []string{"1 d0", "2 d1", "3 d0", "4 d1", "5 d0", "6 d1", "7 d9 foreign"}},
			"from a sequence":                  {reader.Options{From: 6}, []string{"6 d1", "7 d9 foreign"}},
			"to a sequence":                    {reader.Options{Until: 2}, []string{"1 d0", "2 d1"}},
			"one device":                       {reader.Options{Subjects: []string{eventlog.StateSubject("d0", "*")}}, []string{"1 d0", "3 d0", "5 d0"}},
			"a device that never spoke":        {reader.Options{Subjects: []string{eventlog.StateSubject("none", "*")}}, nil},
			"two filters, in the log's order":  {reader.Options{Subjects: []string{eventlog.StateSubject("d1", "*"), eventlog.DeviceSubject("*")}}, []string{"2 d1", "4 d1", "6 d1", "7 d9 foreign"}},
			"three filters, from a sequence":   {reader.Options{From: 3, Until: 6, Subjects: []string{eventlog.StateSubject("d1", "*"), eventlog.StateSubject("d0", "*"), eventlog.StateSubject("none", "*")}}, []string{"3 d0", "4 d1", "5 d0", "6 d1"}},
			"since the beginning of all time":  {reader.Options{Since: time.Unix(1, 0), Subjects: []string{eventlog.StateSubject("d1", "*"), eventlog.DeviceSubject("*")}}, []string{"2 d1", "4 d1", "6 d1", "7 d9 foreign"}},
			"from beyond the end":              {reader.Options{From: 99}, nil},
			"the last of each device":          {reader.Options{LastPerSubject: true, Subjects: []string{eventlog.StateSubject("*", "*")}}, []string{"5 d0", "6 d1"}},
			"since now":                        {reader.Options{Since: time.Now().Add(time.Hour)}, nil},
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				if tt.o.LastPerSubject && as(js) != js {
					return // account PEOPLE cannot read so
				}
				if diff := cmp.Diff(tt.want, read(t, as(js), tt.o)); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
			})
		}
	})
}

func TestReadTellsItsProgress(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, as way) {
		t.Parallel()
		_, js := natstest.Start(t, natstest.PeoplesAPI(t)).Connect(t)
		natstest.EnsureLog(t, js, 1)
		for range 3 {
			natstest.ReportState(t, js, "d0", "web")
		}
		var done, total uint64
		read(t, as(js), reader.Options{Progress: func(d, n uint64) { done, total = d, n }})
		if done != 3 || total != 3 {
			t.Errorf("progress at the end: %d of %d, want 3 of 3", done, total)
		}
	})
}

func TestReadOfAnEmptyLogEnds(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, as way) {
		t.Parallel()
		_, js := natstest.Start(t, natstest.PeoplesAPI(t)).Connect(t)
		natstest.EnsureLog(t, js, 1)
		if got := read(t, as(js), reader.Options{}); got != nil {
			t.Errorf("events %v of an empty log", got)
		}
	})
}

// follower follows the log in the background and hands over what it sees.
type follower struct {
	events chan eventlog.Position
	done   chan error
}

func follow(ctx context.Context, js jetstream.JetStream, o reader.Options) follower {
	f := follower{events: make(chan eventlog.Position, 1000), done: make(chan error, 1)}
	go func() {
		for e, err := range reader.Follow(ctx, js, o) {
			if err != nil {
				f.done <- err
				return
			}
			f.events <- eventlog.Position{Sequence: e.Sequence, Recorded: e.Recorded}
		}
		f.done <- nil
	}()
	return f
}

func (f follower) expect(t *testing.T, seq uint64) (got eventlog.Position) {
	t.Helper()
	select {
	case got = <-f.events:
		if got.Sequence != seq {
			t.Fatalf("followed to sequence %d, want %d", got.Sequence, seq)
		}
	case err := <-f.done:
		t.Fatalf("following ended before sequence %d: %v", seq, err)
	case <-time.After(2 * time.Minute): // a follower looks out for what it misses each 10 s, and twice
		t.Fatalf("sequence %d has not come", seq)
	}
	return got
}

func (f follower) ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-f.done:
		return err
	case <-time.After(2 * time.Minute):
		t.Fatal("following has not ended")
		return nil
	}
}

func TestFollowSurvivesARestartOfTheServer(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, as way) {
		t.Parallel()
		s := natstest.Start(t, natstest.PeoplesAPI(t))
		_, js := s.Connect(t)
		natstest.EnsureLog(t, js, 1)
		natstest.ReportState(t, js, "d0", "web")
		ctx, cancel := context.WithCancel(t.Context())
		f := follow(ctx, as(js), reader.Options{})
		f.expect(t, 1)
		s.Restart()
		_, again := s.Connect(t)
		natstest.ReportState(t, again, "d0", "web")
		f.expect(t, 2)
		cancel()
		if err := f.ended(t); !errors.Is(err, context.Canceled) {
			t.Errorf("following ended with %v, want the context's error", err)
		}
	})
}

func TestFollowNoticesAReplacedLog(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, as way) {
		t.Parallel()
		s := natstest.Start(t, natstest.PeoplesAPI(t))
		_, js := s.Connect(t)
		natstest.EnsureLog(t, js, 1)
		natstest.ReportState(t, js, "d0", "web")
		f := follow(t.Context(), as(js), reader.Options{})
		f.expect(t, 1)
		if err := js.DeleteStream(t.Context(), eventlog.LogStream); err != nil {
			t.Fatal(err)
		}
		natstest.EnsureLog(t, js, 1)
		natstest.ReportState(t, js, "d0", "web")
		if err := f.ended(t); !errors.Is(err, reader.ErrLogReset) {
			t.Errorf("following ended with %v, want ErrLogReset", err)
		}
	})
}

// While the server was down the log lost its tail, and went on from there past
// the place that had been read: here by whom follows, or before, by whom had read
// that much when it began to follow. No event of what came since is yielded.
func TestFollowYieldsNothingOfALogThatLostItsTail(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, as way) {
		t.Parallel()
		for name, readBefore := range map[string]bool{"what it had read itself": false, "what was read before": true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := natstest.Start(t, natstest.PeoplesAPI(t))
				_, js := s.Connect(t)
				natstest.EnsureLog(t, js, 1)
				dir := filepath.Join(s.Dir(), "jetstream", natstest.PeoplesAccount, "streams", eventlog.LogStream)
				natstest.ReportState(t, js, "d0", "web")
				s.Stop()
				saved := t.TempDir()
				if err := os.CopyFS(saved, os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				s.Start()
				_, writer := s.Connect(t)
				for range 4 {
					natstest.ReportState(t, writer, "d0", "web")
				}
				f := follow(t.Context(), as(js), reader.Options{})
				var last eventlog.Position
				for seq := range uint64(5) {
					last = f.expect(t, seq+1)
				}
				if readBefore {
					f = follow(t.Context(), as(js), reader.Options{After: last})
				}
				s.Stop()
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
				if err := os.CopyFS(dir, os.DirFS(saved)); err != nil {
					t.Fatal(err)
				}
				s.Start()
				_, writer = s.Connect(t)
				for range 9 {
					natstest.ReportState(t, writer, "d0", "other")
				}
				if err := f.ended(t); !errors.Is(err, reader.ErrLogReset) {
					t.Errorf("following ended with %v, want ErrLogReset", err)
				}
				if n := len(f.events); n > 0 {
					t.Errorf("%d events were yielded after the log had gone back", n)
				}
			})
		}
	})
}

func TestFollowRefusesAPlaceThatTheLogDoesNotHave(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, as way) {
		t.Parallel()
		_, js := natstest.Start(t, natstest.PeoplesAPI(t)).Connect(t)
		info := natstest.EnsureLog(t, js, 1)
		natstest.ReportState(t, js, "d0", "web")
		var recorded time.Time
		for e, err := range reader.Read(t.Context(), as(js), reader.Options{}) {
			if err != nil {
				t.Fatal(err)
			}
			recorded = e.Recorded
		}
		tests := map[string]struct {
			o     reader.Options
			reset bool
		}{
			"beyond the end":        {reader.Options{From: 3}, true},
			"of another log":        {reader.Options{From: 1, LogID: "another"}, true},
			"just after the end":    {reader.Options{From: 2, LogID: info.ID}, false},
			"the end, of this log":  {reader.Options{From: 1, LogID: info.ID}, false},
			"the beginning, of any": {reader.Options{}, false},
			"after what was read":   {reader.Options{After: eventlog.Position{Sequence: 1, Recorded: recorded}}, false},
			"after what is another": {reader.Options{After: eventlog.Position{Sequence: 1, Recorded: recorded.Add(time.Nanosecond)}}, true},
			"after what is gone":    {reader.Options{After: eventlog.Position{Sequence: 2, Recorded: recorded}}, true},
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if !tt.reset {
					time.AfterFunc(100*time.Millisecond, cancel)
				}
				var last error
				for _, err := range reader.Follow(ctx, as(js), tt.o) {
					last = err
				}
				if errors.Is(last, reader.ErrLogReset) != tt.reset {
					t.Errorf("following ended with %v, want ErrLogReset = %v", last, tt.reset)
				}
			})
		}
	})
}

func TestALogThatIsNotThereIsAnError(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, as way) {
		t.Parallel()
		_, js := natstest.Start(t, natstest.PeoplesAPI(t)).Connect(t)
		for name, events := range map[string]iter.Seq2[eventlog.Event, error]{
			"read":   reader.Read(t.Context(), as(js), reader.Options{}),
			"follow": reader.Follow(t.Context(), as(js), reader.Options{}),
		} {
			n := 0
			for _, err := range events {
				if n++; !errors.Is(err, jetstream.ErrStreamNotFound) {
					t.Errorf("%s: %v, want ErrStreamNotFound", name, err)
				}
			}
			if n != 1 {
				t.Errorf("%s yielded %d times, want once", name, n)
			}
		}
	})
}

func TestFollowEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, as way) {
		t.Parallel()
		nc, js := natstest.Start(t, natstest.PeoplesAPI(t)).Connect(t)
		natstest.EnsureLog(t, js, 1)
		natstest.ReportState(t, js, "d0", "web")
		f := follow(t.Context(), as(js), reader.Options{})
		f.expect(t, 1)
		nc.Close()
		if err := f.ended(t); !errors.Is(err, nats.ErrConnectionClosed) {
			t.Errorf("following ended with %v, want ErrConnectionClosed", err)
		}
	})
}

// Who reads slowly, or stops, leaves nothing behind: no message is lost, no
// goroutine runs on, and the server's consumer goes.
func TestReadingLeavesNothingBehind(t *testing.T) {
	eachWay(t, func(t *testing.T, as way) {
		s := natstest.Start(t, natstest.PeoplesAPI(t))
		_, js := s.Connect(t)
		natstest.EnsureLog(t, js, 1)
		const n = 30_000 // several requests' worth
		for i := range n {
			if _, err := js.PublishMsgAsync(&nats.Msg{Subject: eventlog.InfoSubject(fmt.Sprintf("d%d", i)), Data: []byte(`{}`)}, jetstream.WithStallWait(time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
		<-js.PublishAsyncComplete()
		before := goleak.IgnoreCurrent()
		want := uint64(0)
		for e, err := range reader.Read(t.Context(), as(js), reader.Options{}) {
			if want++; err != nil || e.Sequence != want {
				t.Fatalf("read sequence %d (%v), want %d", e.Sequence, err, want)
			}
			if want%10_000 == 1 {
				time.Sleep(300 * time.Millisecond) // a slow reader
			}
		}
		if want != n {
			t.Errorf("read %d events, want %d", want, n)
		}
		for e, err := range reader.Follow(t.Context(), as(js), reader.Options{}) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Sequence == 100 {
				break
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var last error
		for _, last = range reader.Follow(ctx, as(js), reader.Options{From: n}) {
			cancel()
		}
		if !errors.Is(last, context.Canceled) {
			t.Errorf("following ended with %v, want the context's error", last)
		}
		stream, err := js.Stream(t.Context(), eventlog.LogStream)
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); ; {
			info, err := stream.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if info.State.Consumers == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d consumers are left", info.State.Consumers)
			}
		}
		for deadline := time.Now().Add(time.Minute); ; { // the server's goroutines for a consumer end after it
			err := goleak.Find(before)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	})
}

// On three servers a reader's consumer may live on any of them, behind the
// leader or not: all that was acknowledged is read.
func TestWhatWasAcknowledgedIsReadOnThreeServers(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, as way) {
		t.Parallel()
		_, js := natstest.Cluster(t, 3, natstest.PeoplesAPI(t)).Connect(t)
		natstest.EnsureLog(t, js, 3)
		for i := range uint64(30) {
			natstest.ReportState(t, js, "d0", "web")
			if got := read(t, as(js), reader.Options{}); uint64(len(got)) != i+1 {
				t.Fatalf("read %d events, %d were acknowledged", len(got), i+1)
			}
		}
	})
}

func TestFollowOnThreeServersOutlivesEachOfThem(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, as way) {
		t.Parallel()
		cluster := natstest.Cluster(t, 3, natstest.PeoplesAPI(t))
		_, js := cluster.Connect(t)
		natstest.EnsureLog(t, js, 3)
		f := follow(t.Context(), as(js), reader.Options{})
		seq := uint64(0)
		for _, s := range cluster.Nodes {
			natstest.ReportState(t, js, "d0", "web")
			seq++
			f.expect(t, seq)
			s.Restart()
			for deadline := time.Now().Add(time.Minute); ; {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				ack, err := js.Publish(ctx, eventlog.StateSubject("d0", "web"), []byte(`{"device_id":"d0","deployment":"web","phase":"Running"}`), jetstream.WithMsgID(fmt.Sprint(seq)))
				cancel()
				if err == nil {
					seq = ack.Sequence
					break
				}
				if time.Now().After(deadline) {
					t.Fatal(err)
				}
			}
			f.expect(t, seq)
		}
	})
}
