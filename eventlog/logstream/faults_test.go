package logstream_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
)

func TestAnEnsuredLogHasNoFaultAndEachFaultIsNamed(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	if _, err := logstream.Ensure(t.Context(), js, logstream.Config{MaxBytes: 64 << 20}); err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), eventlog.LogStream)
	if err != nil {
		t.Fatal(err)
	}
	sound := s.CachedInfo().Config
	if faults := logstream.Faults(sound); len(faults) > 0 {
		t.Errorf("a log that was ensured: %v", faults)
	}
	for want, change := range map[string]func(*jetstream.StreamConfig){
		"takes the subjects [x]":      func(c *jetstream.StreamConfig) { c.Subjects = []string{"x"} },
		"kept in Memory":              func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"retention is Interest":       func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"drops its oldest":            func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"dropped after 1h0m0s":        func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"bounded to 5 events":         func(c *jetstream.StreamConfig) { c.MaxMsgs = 5 },
		"keeps 5 events of a subject": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 },
		"events of up to 5 bytes":     func(c *jetstream.StreamConfig) { c.MaxMsgSize = 5 },
		"can be deleted":              func(c *jetstream.StreamConfig) { c.DenyPurge = false },
		"allows no direct gets":       func(c *jetstream.StreamConfig) { c.AllowDirect = false },
		"takes no batches":            func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false },
		"copies another stream":       func(c *jetstream.StreamConfig) { c.Mirror = &jetstream.StreamSource{Name: "x"} },
	} {
		c := sound
		change(&c)
		if faults := logstream.Faults(c); len(faults) != 1 || !strings.Contains(faults[0], want) {
			t.Errorf("%q is not in %q", want, faults)
		}
	}
}
