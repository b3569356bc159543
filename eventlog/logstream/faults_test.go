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
	if faults, permanent := logstream.Faults(sound); len(faults)+len(permanent) > 0 {
		t.Errorf("a log that was ensured: %v, %v", faults, permanent)
	}
	for want, change := range map[string]func(*jetstream.StreamConfig){
		"takes the subjects [x]":      func(c *jetstream.StreamConfig) { c.Subjects = []string{"x"} },
		"retention is Interest":       func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"drops its oldest":            func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"dropped after 1h0m0s":        func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"bounded to 5 events":         func(c *jetstream.StreamConfig) { c.MaxMsgs = 5 },
		"keeps 5 events of a subject": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 },
		"events of up to 5 bytes":     func(c *jetstream.StreamConfig) { c.MaxMsgSize = 5 },
		"can be deleted":              func(c *jetstream.StreamConfig) { c.DenyPurge = false },
		"allows no direct gets":       func(c *jetstream.StreamConfig) { c.AllowDirect = false },
		"takes no batches":            func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false },
		"copies other streams":        func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "x"}} },
		"under other subjects": func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: ">", Destination: "x.>"}
		},
		"published once more":  func(c *jetstream.StreamConfig) { c.RePublish = &jetstream.RePublish{Source: ">", Destination: "x.>"} },
		"acknowledges nothing": func(c *jetstream.StreamConfig) { c.NoAck = true },
		"it has no id":         func(c *jetstream.StreamConfig) { c.Metadata = nil },
	} {
		c := sound
		change(&c)
		if faults, permanent := logstream.Faults(c); len(faults) != 1 || len(permanent) > 0 || !strings.Contains(faults[0], want) {
			t.Errorf("%q is not in %q (and in no %q)", want, faults, permanent)
		}
	}
	for want, change := range map[string]func(*jetstream.StreamConfig){
		"kept in Memory":                func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"retention is WorkQueue":        func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy },
		"the mirror of another":         func(c *jetstream.StreamConfig) { c.Mirror = &jetstream.StreamSource{Name: "x"} },
		"it is sealed":                  func(c *jetstream.StreamConfig) { c.Sealed = true },
		"a message say when it is drop": func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true },
	} {
		c := sound
		change(&c)
		if faults, permanent := logstream.Faults(c); len(permanent) != 1 || len(faults) > 0 || !strings.Contains(permanent[0], want) {
			t.Errorf("%q is not in %q (and in no %q)", want, permanent, faults)
		}
	}
}

// No operator takes a permanent fault back: the server refuses, or Ensure does not try.
func TestAPermanentFaultStaysWhenTheLogIsEnsured(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"it is sealed":                      func(c *jetstream.StreamConfig) { c.Sealed = true },
		"a message says when it is dropped": func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, js := natstest.Start(t).Connect(t)
			natstest.EnsureLog(t, js, 1)
			config := func() jetstream.StreamConfig {
				s, err := js.Stream(t.Context(), eventlog.LogStream)
				if err != nil {
					t.Fatal(err)
				}
				return s.CachedInfo().Config
			}
			c := config()
			change(&c)
			if _, err := js.UpdateStream(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			_, ensured := logstream.Ensure(t.Context(), js, logstream.Config{})
			if _, permanent := logstream.Faults(config()); len(permanent) == 0 {
				t.Errorf("it is gone, and Ensure says %v", ensured)
			}
		})
	}
}

// The doctor says of a fault that an operator which starts takes it away.
func TestWhatOtherHandsGaveALogIsTakenAwayWhenItIsEnsured(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	info := natstest.EnsureLog(t, js, 1)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"other"}}); err != nil {
		t.Fatal(err)
	}
	config := func() jetstream.StreamConfig {
		s, err := js.Stream(t.Context(), eventlog.LogStream)
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().Config
	}
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"other subjects":      func(c *jetstream.StreamConfig) { c.Subjects = []string{"x"} },
		"a full log drops":    func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"an age":              func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"a number of events":  func(c *jetstream.StreamConfig) { c.MaxMsgs = 5 },
		"events of a subject": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 },
		"a size of events":    func(c *jetstream.StreamConfig) { c.MaxMsgSize = 5 },
		"no direct gets":      func(c *jetstream.StreamConfig) { c.AllowDirect = false },
		"no batches":          func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false },
		"a source":            func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "OTHER"}} },
		"a subject transform": func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "fleet.evt.>", Destination: "x.>"}
		},
		"it is republished": func(c *jetstream.StreamConfig) {
			c.RePublish = &jetstream.RePublish{Source: "fleet.evt.>", Destination: "x.>"}
		},
		"it acknowledges nothing": func(c *jetstream.StreamConfig) { c.NoAck = true },
	} {
		c := config()
		change(&c)
		if _, err := js.UpdateStream(t.Context(), c); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if faults, _ := logstream.Faults(config()); len(faults) != 1 {
			t.Errorf("%s: the faults are %q", name, faults)
		}
		if again := natstest.EnsureLog(t, js, 1); again.ID != info.ID {
			t.Errorf("%s: the log was %s and is %s", name, info.ID, again.ID)
		}
		if faults, _ := logstream.Faults(config()); len(faults) > 0 {
			t.Errorf("%s, and an operator that starts leaves it so: %q", name, faults)
		}
	}
}
