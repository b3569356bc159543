package buckets_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/buckets"
)

// Headers that the log does not see and a bucket does; see
// TestABucketThatCannotGoOnHoldsUpNothingElse. With several replicas the server
// agrees on the first before it looks into it, which ends them; the second it refuses.
const (
	hiddenTTL  = "NATS/1.0\r\nNats-Expected-X: Nats-TTLNats-TTL\r\nNats-TTL: soon\r\n\r\n"
	hiddenIncr = "NATS/1.0\r\nNats-Expected-X: Nats-IncrNats-Incr\r\nNats-Incr: soon\r\n\r\n"
)

// stage is a log of reports on one server or three, of which some are refused.
type stage struct {
	*testing.T
	nodes   []*natstest.Server
	js      jetstream.JetStream
	config  buckets.Config
	reports int
	want    map[string]string // of the bucket of states
	passed  []uint64
}

func newStage(t *testing.T, servers int) *stage {
	t.Helper()
	s := &stage{T: t, want: map[string]string{}, config: buckets.Config{Replicas: servers}}
	if servers == 1 {
		s.nodes = []*natstest.Server{natstest.Start(t)}
		_, s.js = s.nodes[0].Connect(t)
	} else {
		c := natstest.Cluster(t, servers)
		s.nodes = c.Nodes
		_, s.js = c.Connect(t)
	}
	natstest.EnsureLog(t, s.js, servers)
	natstest.Settle(t, func(ctx context.Context) error {
		_, err := buckets.Ensure(ctx, s.js, s.config)
		return err
	})
	a, err := appender.New(s.js.Conn(), appender.Options{Source: "test"})
	if err != nil {
		t.Fatal(err)
	}
	s.until("the election", func() error {
		_, err := a.Elect(t.Context(), eventlog.Leader{Identity: "op", ClusterUID: "here"}, time.Now())
		return err
	})
	return s
}

func (s *stage) until(what string, try func() error) {
	s.Helper()
	until(s.T, what, try)
}

// until tries until there is no error: servers that elect, or are busy, may not
// answer a request in time.
func until(t *testing.T, what string, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(50 * time.Millisecond) { // poll
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func (s *stage) last() uint64 {
	s.Helper()
	var last uint64
	s.until("the log's last report", func() error {
		var err error
		last, err = reader.LastSequence(s.Context(), s.js, eventlog.LogStream, eventlog.FamilySubjects(eventlog.FamilyState))
		return err
	})
	return last
}

func (s *stage) good() {
	s.Helper()
	s.reports++
	device, body := fmt.Sprintf("good-%d", s.reports), fmt.Sprintf(`{"n":%d}`, s.reports)
	// Servers that elect drop a message and say nothing, so it is sent again under its id.
	s.until("a report", func() error {
		ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
		defer cancel()
		_, err := s.js.Publish(ctx, eventlog.StateSubject(device, "web"), []byte(body), jetstream.WithMsgID(device))
		return err
	})
	s.want[eventlog.StateKey(device, "web")] = body
}

func (s *stage) evil(header string) uint64 {
	s.Helper()
	s.nodes[0].Raw(s.T, eventlog.StateSubject("evil", "web"), header, "{}")
	return s.last()
}

// stands waits until the bucket stands before a message.
func (s *stage) stands(before uint64) {
	s.Helper()
	s.until(fmt.Sprintf("the bucket stands before %d", before), func() error {
		m, err := buckets.Lacks(s.Context(), s.js, eventlog.BucketState)
		if err == nil && (m == nil || m.Sequence != before) {
			err = fmt.Errorf("it lacks %+v", m)
		}
		return err
	})
}

func (s *stage) refuses(sequence uint64) bool {
	s.Helper()
	var refused bool
	s.until(fmt.Sprintf("whether the server refuses %d", sequence), func() error {
		var err error
		refused, err = buckets.Refuses(s.Context(), s.js, eventlog.BucketState, sequence)
		return err
	})
	return refused
}

func (s *stage) pass(sequence uint64) {
	s.Helper()
	s.until(fmt.Sprintf("move the bucket past %d", sequence), func() error {
		return buckets.Skip(s.Context(), s.js, eventlog.BucketState, sequence)
	})
	s.passed = append(s.passed, sequence)
}

// whole waits until the bucket has all but what it was moved past, and is sound.
func (s *stage) whole(when string) {
	s.Helper()
	s.until(when, func() error {
		m, err := buckets.Lacks(s.Context(), s.js, eventlog.BucketState)
		if err == nil && m != nil {
			err = fmt.Errorf("it lacks message %d", m.Sequence)
		}
		return err
	})
	s.until(when+": contents", func() error { return holds(s.Context(), s.js, eventlog.BucketState, s.want) })
	s.until(when+": check", func() error {
		found, err := buckets.Check(s.Context(), s.js, eventlog.BucketState)
		if err == nil && found != buckets.Sound {
			err = fmt.Errorf("it is found to be %s", found)
		}
		return err
	})
	var got []uint64
	s.until(when+": what it passed over", func() (err error) {
		got, err = buckets.Skipped(s.Context(), s.js, eventlog.BucketState)
		return err
	})
	if !slices.Equal(got, s.passed) {
		s.Errorf("%s: passed over %v, want %v", when, got, s.passed)
	}
}

func (s *stage) restart() {
	for _, n := range s.nodes {
		n.Restart()
		s.until("the server is back", func() error {
			_, err := logstream.Inspect(s.Context(), s.js)
			return err
		})
	}
}

// On one server and on three, a bucket is moved past what the server refuses, and
// nothing else is lost: not by a restart before the next message comes, nor after it,
// not by a second such message, nor by a rebuild.
func TestABucketIsMovedPastWhatTheServerRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		servers int
		header  string
	}{
		"one server":    {1, hiddenTTL},
		"three servers": {3, hiddenIncr},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, c.servers)
			s.good()
			bad := s.evil(c.header)
			s.good()
			s.stands(bad)
			if !s.refuses(bad) {
				t.Fatal("the server does not refuse the message")
			}
			if s.refuses(bad + 1) {
				t.Fatal("the server refuses the message that comes next")
			}
			s.pass(bad)
			s.whole("after it was moved")
			s.pass(bad) // once more, as where the answer was lost
			s.passed = s.passed[:1]
			s.whole("after it was moved once more")
			s.until("refuse to move past a message that it has", func() error {
				err := buckets.Skip(t.Context(), s.js, eventlog.BucketState, bad+1)
				if err == nil {
					t.Error("moved past a message that it has")
				}
				if errors.Is(err, buckets.ErrNotStalled) {
					return nil
				}
				return err
			})
			bad = s.evil(c.header)
			s.stands(bad)
			s.pass(bad)
			s.restart()
			s.whole("restarted before anything came")
			s.good()
			s.whole("something came")
			s.restart()
			s.good()
			s.whole("restarted after that")
			s.until("ensured once more", func() error {
				rebuilt, err := buckets.Ensure(t.Context(), s.js, s.config)
				if slices.Contains(rebuilt, eventlog.BucketState) {
					t.Errorf("ensure rebuilt %v", rebuilt)
				}
				return err
			})
			s.until("rebuildable", func() error {
				_, err := buckets.Rebuildable(t.Context(), s.js, eventlog.BucketState)
				return err
			})
			s.until("rebuild", func() error {
				return buckets.Rebuild(t.Context(), s.js, s.config, eventlog.BucketState, nil)
			})
			s.whole("rebuilt")
			s.good()
			s.whole("after the rebuild")
		})
	}
}

// On three servers a message can end all replicas of its bucket. It is rebuilt with
// one, which refuses the message, is moved, and gets its replicas back.
func TestABucketThatNoServerLeadsIsRevived(t *testing.T) {
	t.Parallel()
	s := newStage(t, 3)
	s.good()
	bad := s.evil(hiddenTTL)
	s.good()
	s.until("no server leads it", func() error {
		found, err := buckets.Check(t.Context(), s.js, eventlog.BucketState)
		if err == nil && found != buckets.Halted {
			err = fmt.Errorf("it is found to be %s", found)
		}
		return err
	})
	s.until("ensure, which it does not hold up", func() error {
		rebuilt, err := buckets.Ensure(t.Context(), s.js, s.config)
		if len(rebuilt) > 0 {
			t.Errorf("ensure rebuilt %v", rebuilt)
		}
		return err
	})
	quick := s.config
	quick.StallTimeout = 15 * time.Second // a busy machine may bring nothing for seconds
	var stalled *buckets.StalledError
	s.until("it is revived", func() error {
		if err := buckets.Revive(t.Context(), s.js, quick, eventlog.BucketState); !errors.As(err, &stalled) {
			return fmt.Errorf("revive: %w", err)
		}
		return nil
	})
	if stalled.Message.Sequence != bad {
		t.Fatalf("it stands before %d, want %d", stalled.Message.Sequence, bad)
	}
	s.until("mend, while it is stalled", func() error {
		rebuilt, err := buckets.Mend(t.Context(), s.js, s.config, eventlog.BucketState)
		if rebuilt {
			t.Error("mend rebuilt it")
		}
		return err
	})
	if c := configOf(t, s.js, eventlog.BucketState); c.Replicas != 1 {
		t.Fatalf("it has %d replicas, which the message would end", c.Replicas)
	}
	s.pass(bad)
	s.whole("moved")
	s.until("mend", func() error {
		_, err := buckets.Mend(t.Context(), s.js, s.config, eventlog.BucketState)
		return err
	})
	if c := configOf(t, s.js, eventlog.BucketState); c.Replicas != 3 {
		t.Errorf("it has %d replicas, want 3", c.Replicas)
	}
	s.good()
	s.whole("with three replicas")
	s.restart()
	s.good()
	s.whole("restarted")
}

// What devices should run is not left out, whatever becomes of the bucket.
func TestDesiredStateIsNeverMovedPastAMessage(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	ensure(t, js)
	if err := buckets.Skip(t.Context(), js, eventlog.BucketDesired, assign(t, js, "pi-01", "hello", `{}`)); err == nil {
		t.Error("it was moved")
	}
}
