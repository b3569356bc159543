package fleet_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

func encode(t interface{ Fatal(...any) }, v *fleet.View) []byte {
	b, err := fleet.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t interface{ Fatal(...any) }, b []byte) *fleet.View {
	v, err := fleet.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAFoldThatGoesOnFromAnEncodedViewEqualsOneThatWasNeverInterrupted(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := drawStory(rt, t)
		cut := rapid.IntRange(0, len(s.events)).Draw(rt, "cut")
		v := fleet.New()
		for i, e := range s.events {
			if i == cut {
				b := encode(rt, v)
				v = decode(rt, b)
				if again := encode(rt, v); !bytes.Equal(b, again) {
					rt.Fatalf("at sequence %d, encoded again it differs", v.Sequence)
				}
			}
			v = fleet.Apply(v, e.Event, e.err)
		}
		whole := s.fold(fleet.New())
		if diff := cmp.Diff(summary(whole), summary(v)); diff != "" {
			rt.Fatalf("interrupted at %d (-want +got):\n%s", cut, diff)
		}
		if !bytes.Equal(encode(rt, whole), encode(rt, v)) {
			rt.Fatalf("interrupted at %d, it is encoded otherwise", cut)
		}
		for key := range whole.Deployments {
			if diff := cmp.Diff(keysOf(whole.Named(key.Name)), keysOf(v.Named(key.Name))); diff != "" {
				rt.Fatalf("interrupted at %d, the Deployments of the name %s differ (-want +got):\n%s", cut, key.Name, diff)
			}
		}
	})
}

func keysOf(of []*fleet.Deployment) (keys []fleet.Key) {
	for _, d := range of {
		keys = append(keys, d.Key)
	}
	slices.SortFunc(keys, fleet.Key.Compare)
	return keys
}

// A field that the fold gains and the codec forgets is found here: each one that
// can be seen is set, and must come back.
func TestEveryFieldOfAViewIsEncoded(t *testing.T) {
	t.Parallel()
	s := &story{t: t}
	s.apply("shop", "web", "app:1", 1)
	s.assign("pi-01", "shop", "web", "app:1", 1)
	s.report("pi-01", "web", eventlog.PhaseFailed, v2, "a.1")
	v := s.fold(fleet.New())
	n := 0
	d, dev := v.Deployments[web], v.Devices["pi-01"]
	p := dev.Pair("web")
	fill(reflect.ValueOf(&v.Leader).Elem(), &n)
	fill(reflect.ValueOf(v.Foreign), &n)
	fill(reflect.ValueOf(v.Budgets), &n)
	for _, part := range []any{&d.Lifecycle, &d.Spec, &d.Applied, &d.Changed, &d.Withdraw, &d.Rollout, &d.Trace, &p.Desired, &p.Reported} {
		fill(reflect.ValueOf(part).Elem(), &n)
	}
	p.Reported.Phase = eventlog.PhaseRunning
	fill(reflect.ValueOf(dev).Elem(), &n)
	dev.ID = "pi-01"

	got := decode(t, encode(t, v))
	visible := cmp.FilterPath(func(p cmp.Path) bool {
		f, ok := p.Last().(cmp.StructField)
		return ok && (f.Name() == "Device" || f.Name() == "Deployment" || f.Name()[0] >= 'a')
	}, cmp.Ignore())
	for name, parts := range map[string][2]any{
		"view": {v, got}, "pair": {p, got.Devices["pi-01"].Pair("web")},
	} {
		if diff := cmp.Diff(parts[0], parts[1], visible, cmp.Transformer("counts", func(fleet.Counts) int { return 0 })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// fill sets all exported fields under v to values of their own.
func fill(v reflect.Value, n *int) {
	*n++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(epoch.Add(time.Duration(*n) * time.Millisecond)))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), n)
			}
		}
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case v.Kind() == reflect.Map:
		if v.CanSet() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(value, n)
		v.SetMapIndex(key, value)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		v.SetBytes([]byte(`{"<": 1}`)) // what encoding/json would write otherwise
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), n)
	case v.Kind() == reflect.String:
		v.SetString("text " + time.Duration(*n).String())
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(int64(*n))
	case v.CanUint():
		v.SetUint(uint64(*n))
	case v.CanFloat():
		v.SetFloat(float64(*n) / 2)
	}
}

func TestTimesSurviveToTheNanosecond(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]time.Time{
		"the zero time":         {},
		"now":                   epoch.Add(123456789),
		"before the log":        epoch.Add(-400 * 24 * time.Hour),
		"the first year":        time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC),
		"the last year of JSON": time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := fleet.New()
			v.Recorded, v.Leader.At = epoch, at
			if got := decode(t, encode(t, v)).Leader.At; got != at {
				t.Errorf("%v became %v", at, got)
			}
		})
	}
}

func TestDamagedBytesAreRefused(t *testing.T) {
	t.Parallel()
	s := told(t)
	whole := encode(t, s.fold(fleet.New()))
	for i := range whole {
		if _, err := fleet.Decode(whole[:i]); !errors.Is(err, fleet.ErrDamaged) {
			t.Fatalf("the first %d bytes of %d: %v", i, len(whole), err)
		}
		flipped := bytes.Clone(whole)
		flipped[i] ^= 1 << (i % 8)
		v, err := fleet.Decode(flipped)
		if err == nil && bytes.Equal(encode(t, v), whole) {
			continue // a compressed stream can say the same in two ways
		}
		if !errors.Is(err, fleet.ErrDamaged) && !errors.Is(err, fleet.ErrOtherVersion) {
			t.Fatalf("one bit of byte %d of %d changed: %v", i, len(whole), err)
		}
	}
	if _, err := fleet.Decode(append(bytes.Clone(whole), 0)); !errors.Is(err, fleet.ErrDamaged) {
		t.Errorf("a byte more: %v", err)
	}
	other := bytes.Clone(whole)
	other[4] = fleet.FoldVersion + 1
	if _, err := fleet.Decode(other); !errors.Is(err, fleet.ErrOtherVersion) {
		t.Errorf("another version: %v", err)
	}
}

// told is a log in which something of each kind was said.
func told(t testing.TB) *story {
	s := &story{t: t}
	s.draft(eventlog.LeaderSubject, eventlog.LeaderElected, eventlog.Leader{Identity: "op-0", ClusterUID: "c", Version: "1"})
	s.apply("shop", "web", "app:1", 1)
	s.draft(eventlog.DeploymentSubject("shop", "web"), eventlog.RolloutStarted, eventlog.Rollout{Revision: 1, Strategy: "AllAtOnce", Devices: 2})
	for _, d := range both {
		s.info(d, map[string]string{"site": "lab"})
		s.relabel(d, map[string]eventlog.OwnedLabel{"site": {Value: "lab", Owner: "device"}})
		s.draft(eventlog.DeviceSubject(d), eventlog.DeviceRegistered, eventlog.Registration{})
		s.assign(d, "shop", "web", "app:1", 1)
		s.report(d, "web", eventlog.PhaseFailed, v1, d+".1")
		s.presence(d, eventlog.DeviceOnline)
	}
	s.report("pi-01", "web", eventlog.PhaseRunning, v1, "pi-01.3")
	s.render("pi-02", "shop", "site", "app:lab", v1, 1)
	s.report("pi-02", "old", eventlog.PhaseRunning, v2, "")
	s.report("pi-02", "web", "Nonsense", "", "")
	s.draft(eventlog.AccessSubject("pi-02"), eventlog.AccessRevoked, eventlog.Access{Reason: "Flooding", Message: "too much"})
	s.draft(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentOrphaned, eventlog.DeploymentEnd{Reason: "CRMissing"})
	s.draft(eventlog.RequestSubject("ada", "shop", "web"), eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestWithdraw})
	s.draft(eventlog.DeploymentSubject("shop", "db"), eventlog.DeploymentRefused, eventlog.Refusal{UID: "u", Generation: 1, Reason: "TooLarge", Message: "too large"})
	s.requestDecommission("pi-02")
	s.info("pi-03", nil)
	s.decommission("pi-03")
	s.report("pi-03", "web", eventlog.PhaseRunning, v1, "pi-03.1")
	s.askAccess("pi-04", eventlog.RequestRevoke)
	copied := eventlog.Draft{Subject: eventlog.AccessSubject("pi-01"), Type: eventlog.AccessRevoked, Time: s.now(), Data: []byte(`{"reason":"Copied"}`)}.Message("test", "ID-copied")
	copied.Header.Set(eventlog.HeaderSequence, "7")
	s.add(copied)
	s.traced("shop", "cache", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	return s
}

// traced records a change that belongs to a trace.
func (s *story) traced(namespace, name, traceparent string) {
	d, err := eventlog.NewDraft(eventlog.DeploymentSubject(namespace, name), eventlog.DeploymentApplied, s.now(), eventlog.Deployment{UID: "u", Generation: 1, Revision: 1})
	if err != nil {
		s.t.Fatal(err)
	}
	d.Traceparent = traceparent
	s.add(d.Message("test", "ID-traced"))
}

// The same log under the same version gives the same bytes for ever: a program
// that finds a view of its own version takes it for its own.
func TestWhatAVersionMakesOfALogStaysAsItIs(t *testing.T) {
	t.Parallel()
	want := map[int]string{
		1:  "1dff885d54b181a8",
		2:  "1dff885d54b181a8", // bounds what a device can choose
		3:  "600118aafd2af2d4", // a refusal, and when the log recorded what is desired
		4:  "bdac670b5f1a59c5", // a device that left
		5:  "f63dbf6ad1993fcc", // a request about access
		6:  "13bc91a84e636816", // a copy of a message is foreign
		7:  "101a36812dbef20b", // of which assignment a report speaks
		8:  "cc9c84e7344f3d0a", // when a device's key ends
		9:  "1163534284b5528f", // runs, holds, requests, and each pair's part in them
		10: "1163534284b5528f", // the times of a pair are of the years 1678 to 2262
		11: "1163534284b5528f", // a device that is back, and another deadline after a hold
		12: "2fbf26731c07783d", // the rate of a run; what was rendered for a device; the answers of gates
		13: "1a22a193697ead7b", // the trace of a change
		14: "cd0c9c5d08fd1b14", // where in the log a trace begins, and labels came; a run without a trace of its own
	}
	sum := sha256.Sum256(fleet.Body(told(t).fold(fleet.New())))
	if got := hex.EncodeToString(sum[:8]); got != want[fleet.FoldVersion] {
		t.Errorf("version %d makes %s of the log, and it was %q: raise FoldVersion, and add a line here", fleet.FoldVersion, got, want[fleet.FoldVersion])
	}
}

func FuzzDecode(f *testing.F) {
	s := told(f)
	for n := range s.events {
		v := fleet.New()
		for _, e := range s.events[:n] {
			v = fleet.Apply(v, e.Event, e.err)
		}
		f.Add(fleet.Body(v))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := fleet.Decode(fleet.Wrap(body)) // or no body would ever pass the checksum
		if err != nil {
			if !errors.Is(err, fleet.ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		for _, e := range s.events { // whatever it is, it can be folded upon and encoded
			v = fleet.Apply(v, e.Event, e.err)
		}
		b := encode(t, v)
		if again := encode(t, decode(t, b)); !bytes.Equal(b, again) {
			t.Fatal("encoded again it differs")
		}
	})
}
