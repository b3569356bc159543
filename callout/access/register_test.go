package access

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fleet.nationtech.io/callout/refusal"
)

func TestOfTooManyConnectionsTheOldestAreEnded(t *testing.T) {
	t.Parallel()
	r := newRegister()
	at := time.Unix(1_800_000_000, 0)
	var ended []uint64
	for i, began := range []int{3, 1, 2, 5, 4} { // servers tell in any order
		for _, c := range r.opened(connection{server: "s", id: uint64(i), actor: "device-pi-01", began: at.Add(time.Duration(began) * time.Second)}) {
			ended = append(ended, c.id)
			r.closed(c.key())
		}
	}
	if fmt.Sprint(ended) != "[1 2]" || len(r.of("device-pi-01")) != LimitsOf("device-pi-01").Connections {
		t.Errorf("ended %v, left %v", ended, r.of("device-pi-01"))
	}
}

// The register holds what was opened and not closed, in whatever order, and nothing
// of whom has gone.
func TestARegisterForgetsWhoHasGone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		r, model := newRegister(), map[connectionKey]bool{}
		for range rapid.IntRange(1, 50).Draw(rt, "steps") {
			c := connection{server: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "server"), id: rapid.Uint64Range(1, 5).Draw(rt, "id")}
			c.actor = fmt.Sprintf("device-%s-%d", c.server, c.id%2)
			if rapid.Bool().Draw(rt, "opens") {
				r.opened(c)
				model[c.key()] = true
			} else {
				r.closed(c.key())
				delete(model, c.key())
			}
		}
		n := 0
		for actor := range r.byActor {
			if len(r.of(actor)) == 0 {
				rt.Fatalf("%s is kept without a connection", actor)
			}
			n += len(r.of(actor))
		}
		if n != len(model) || len(r.byKey) != len(model) {
			rt.Fatalf("%d connections, want %d", n, len(model))
		}
	})
}

func TestAUserOfNATSAndItsSubjectNameEachOther(t *testing.T) {
	t.Parallel()
	for actor, want := range map[string]string{
		"device-pi-01": "pi-01", "person-17": "_person-17", "service-ci": "_service-ci",
		"operator": "", "callout-sys": "", "legacy-old-01": "", "lab": "", "device-": "", "device-a.b": "", "": "",
	} {
		subject, ok := subjectOf(actor)
		if ok != (want != "") || ok && (subject != want || actorOf(subject) != actor) {
			t.Errorf("user %q: subject %q %v, want %q; back again %q", actor, subject, ok, want, actorOf(subject))
		}
	}
}

func TestADeviceConnectsTwentyTimesAMinute(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	l := NewLimiter(func() time.Time { return now })
	for i := range LimitsOf("device-pi-01").Connects {
		if err := l.Connect("device-pi-01"); err != nil {
			t.Fatalf("connect %d: %v", i, err)
		}
		l.Seen("device-pi-01") // the same one, by the server's word
		now = now.Add(time.Second)
	}
	if err := l.Connect("device-pi-01"); !refusal.Is(err, refusal.TooManyConnects) {
		t.Errorf("the 21st: %v", err)
	}
	if err := l.Connect("device-pi-02"); err != nil {
		t.Errorf("another identity: %v", err)
	}
	now = now.Add(40 * time.Second) // a minute after the first
	if err := l.Connect("device-pi-01"); err != nil {
		t.Errorf("a minute after the first: %v", err)
	}
}

func TestConnectsThatAnotherReplicaGrantedCount(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	l := NewLimiter(func() time.Time { return now })
	for range 50 {
		l.Seen("device-pi-01")
	}
	if err := l.Connect("device-pi-01"); !refusal.Is(err, refusal.TooManyConnects) {
		t.Errorf("error %v", err)
	}
}

func TestALimiterForgetsWhoHasNotConnectedForAMinute(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	l := NewLimiter(func() time.Time { return now })
	for i := range 1000 {
		if err := l.Connect(fmt.Sprintf("device-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(2 * time.Minute)
	if err := l.Connect("device-x"); err != nil || len(l.actors) != 1 {
		t.Errorf("%d identities are kept, error %v", len(l.actors), err)
	}
}

// A script of one command after the other, and several windows, are no attack.
func TestAPersonMayRunMoreThanADevice(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_800_000_000, 0)
	l, r := NewLimiter(func() time.Time { return at }), newRegister()
	for _, actor := range []string{"person-372", "service-ci"} {
		for i := range 120 {
			if err := l.Connect(actor); err != nil {
				t.Fatalf("%s, connect %d: %v", actor, i+1, err)
			}
		}
		if err := l.Connect(actor); !refusal.Is(err, refusal.TooManyConnects) {
			t.Errorf("%s, the 121st within a minute: %v", actor, err)
		}
		ended := 0
		for i := range 25 {
			ended += len(r.opened(connection{server: "a", id: uint64(i), actor: actor, began: at.Add(time.Duration(i))}))
			for _, old := range r.of(actor)[:max(0, len(r.of(actor))-20)] {
				r.closed(old.key())
			}
		}
		if ended != 5 {
			t.Errorf("%s: of 25 connections %d were ended, want the 5 oldest", actor, ended)
		}
	}
}
