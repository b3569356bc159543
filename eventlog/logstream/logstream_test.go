package logstream_test

import (
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
)

func TestTheLogKeepsItsIDWhenItIsEnsuredAgain(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	_, js := s.Connect(t)
	first := natstest.EnsureLog(t, js, 1)
	if first.ID == "" {
		t.Fatal("the log has no id")
	}
	natstest.ReportState(t, js, "d0", "web")
	s.Restart()
	_, js = s.Connect(t)
	again := natstest.EnsureLog(t, js, 1)
	if again.ID != first.ID || again.Last != 1 {
		t.Errorf("after a restart: log %s at %d, want %s at 1", again.ID, again.Last, first.ID)
	}
	if err := js.DeleteStream(t.Context(), eventlog.LogStream); err != nil {
		t.Fatal(err)
	}
	if anew := natstest.EnsureLog(t, js, 1); anew.ID == first.ID {
		t.Error("a log that was made again has the id of the one that was lost")
	}
}

func TestConcurrentEnsuresOfAYoungLogAgreeOnItsID(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	ids := make([]string, 8)
	var all sync.WaitGroup
	for i := range ids {
		_, js := s.Connect(t)
		all.Go(func() {
			info, err := logstream.Ensure(t.Context(), js, logstream.Config{})
			if err != nil {
				t.Errorf("ensure: %v", err)
			}
			ids[i] = info.ID
		})
	}
	all.Wait()
	for _, id := range ids[1:] {
		if id != ids[0] || id == "" {
			t.Fatalf("ids %v, want one for all", ids)
		}
	}
}

func TestNothingCanBeTakenOutOfTheLog(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	natstest.EnsureLog(t, js, 1)
	natstest.ReportState(t, js, "d0", "web")
	s, err := js.Stream(t.Context(), eventlog.LogStream)
	if err != nil {
		t.Fatal(err)
	}
	if s.DeleteMsg(t.Context(), 1) == nil {
		t.Error("a message was deleted")
	}
	if s.Purge(t.Context()) == nil {
		t.Error("the log was purged")
	}
	cfg := s.CachedInfo().Config
	for what, got := range map[string]bool{
		"compressed": cfg.Compression == jetstream.S2Compression, "refuses when full": cfg.Discard == jetstream.DiscardNew, "no rollups": !cfg.AllowRollup,
		"direct reads": cfg.AllowDirect, "atomic batches": cfg.AllowAtomicPublish, "message size": cfg.MaxMsgSize == 256<<10,
	} {
		if !got {
			t.Errorf("the log is not as the contract says: %s", what)
		}
	}
}

func TestTheReserveStaysOpenUntilTheSizeChanges(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	ensureSize := func(n int64) int64 {
		t.Helper()
		info, err := logstream.Ensure(t.Context(), js, logstream.Config{MaxBytes: n})
		if err != nil {
			t.Fatal(err)
		}
		if info.Size != n {
			t.Errorf("with its reserve the log takes %d bytes, want %d", info.Size, n)
		}
		return info.MaxBytes
	}
	if got := ensureSize(1000_000); got != 900_000 {
		t.Errorf("a log of 1 MB takes %d bytes, want 900000 and a reserve", got)
	}
	if err := logstream.OpenReserve(t.Context(), js, logstream.Config{MaxBytes: 1000_000}); err != nil {
		t.Fatal(err)
	}
	if got := ensureSize(1000_000); got != 1000_000 {
		t.Errorf("ensuring closed the reserve: %d bytes", got)
	}
	if got := ensureSize(2000_000); got != 1800_000 {
		t.Errorf("a log of 2 MB takes %d bytes, want 1800000", got)
	}
	if got := ensureSize(0); got != 0 {
		t.Errorf("a log without a limit takes %d bytes", got)
	}
}

// A replica that is behind may answer a direct read; where absence decides, the
// stream's leader is asked.
func TestAnAuthoritativeReadAsksTheLeader(t *testing.T) {
	t.Parallel()
	nc, js := natstest.Start(t).Connect(t)
	natstest.EnsureLog(t, js, 1)
	natstest.ReportState(t, js, "d0", "web")
	asked, err := nc.SubscribeSync("$JS.API.STREAM.MSG.GET.FLEET")
	if err != nil {
		t.Fatal(err)
	}
	direct, err := nc.SubscribeSync("$JS.API.DIRECT.GET.>")
	if err != nil {
		t.Fatal(err)
	}
	for subject, want := range map[string]uint64{eventlog.StateSubject("d0", "*"): 1, eventlog.StateSubject("d1", "*"): 0} {
		got, err := reader.LastSequence(t.Context(), js, eventlog.LogStream, subject)
		if err != nil || got != want {
			t.Errorf("last sequence of %s: %d, %v; want %d", subject, got, err, want)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if a, _, _ := asked.Pending(); a != 2 {
		t.Errorf("the leader was asked %d times, want 2", a)
	}
	if d, _, _ := direct.Pending(); d != 0 {
		t.Errorf("%d direct reads, want none", d)
	}
}

func TestALogIsCompressedOnOneServerAlone(t *testing.T) {
	t.Parallel()
	_, js := natstest.Cluster(t, 3).Connect(t)
	for replicas, want := range map[int]jetstream.StoreCompression{1: jetstream.S2Compression, 3: jetstream.NoCompression} {
		natstest.EnsureLog(t, js, replicas)
		s, err := js.Stream(t.Context(), eventlog.LogStream)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.CachedInfo().Config.Compression; got != want {
			t.Errorf("on %d servers the log's compression is %v, want %v", replicas, got, want)
		}
	}
}
