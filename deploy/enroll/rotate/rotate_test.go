package rotate_test

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/deploy/enroll/rotate"
	"fleet.nationtech.io/eventlog"
)

const device = "pi-01"

var today = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// fault is what goes wrong with one call.
type fault int

const (
	none   fault = iota
	lost         // the call has no effect, and fails
	unsaid       // it has its effect, and the answer is lost
)

// world is a provider and devices, with faults.
type world struct {
	mu        sync.Mutex
	now       time.Time
	next      int
	keys      map[string]map[string]rotate.Key // by user
	public    map[string]string                // what a key's public half is
	devices   map[string]*machine
	calls     []string
	faults    []fault                                        // of the calls to come
	hides     bool                                           // the provider gives no token for new keys
	at        int                                            // before the call of this number
	meanwhile func()                                         // another run does this
	forge     func(eventlog.KeyRequest, *eventlog.KeyAnswer) // what another one makes of an answer
}

// prove is a proof; its signature is the key's id.
func prove(key, user, nonce, public string) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	return strings.Join([]string{part(map[string]string{"alg": "RS256", "kid": key}), part(map[string]string{
		"iss": user, "sub": user, eventlog.ClaimKeyNonce: nonce, eventlog.ClaimKeyPublic: eventlog.KeyDigest(public),
	}), key}, ".")
}

// Accepts implements rotate.Issuer: a signature is good where the key stands.
func (w *world) Accepts(_ context.Context, assertion string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	parts := strings.Split(assertion, ".")
	for _, keys := range w.keys {
		if _, ok := keys[parts[2]]; ok {
			return nil
		}
	}
	return &openid.Refusal{Status: http.StatusForbidden, Code: "invalid_request"}
}

// machine is a device's agent, as far as keys go.
type machine struct {
	key, user, pending string
	offline            bool
}

func newWorld(ids ...string) *world {
	w := &world{now: today, keys: map[string]map[string]rotate.Key{}, public: map[string]string{}, devices: map[string]*machine{}}
	for _, id := range ids {
		w.keys[id] = map[string]rotate.Key{}
		w.devices[id] = &machine{user: id}
		w.devices[id].key = w.add(id, "public of the old", today.AddDate(-2, 0, 0))
	}
	return w
}

func (w *world) add(user, public string, at time.Time) string {
	w.next++
	id := fmt.Sprint("key-", w.next)
	w.keys[user][id], w.public[id] = rotate.Key{ID: id, Created: at}, public
	return id
}

var errFault = errors.New("the network is away")

// call runs something with the fault of its turn.
func (w *world) call(name string, effect func() error) error {
	w.mu.Lock()
	if n := len(w.calls); w.meanwhile != nil && n == w.at {
		f := w.meanwhile
		w.meanwhile = nil
		w.mu.Unlock()
		f()
		w.mu.Lock()
	}
	defer w.mu.Unlock()
	w.calls = append(w.calls, name)
	f := none
	if len(w.faults) > 0 {
		f, w.faults = w.faults[0], w.faults[1:]
	}
	if f == lost {
		return errFault
	}
	w.now = w.now.Add(time.Second)
	if err := effect(); err != nil {
		return err
	}
	if f == unsaid {
		return errFault
	}
	return nil
}

func (w *world) Keys(_ context.Context, user string) (all []rotate.Key, err error) {
	err = w.call("list", func() error {
		all = slices.SortedFunc(maps.Values(w.keys[user]), func(a, b rotate.Key) int { return strings.Compare(a.ID, b.ID) })
		return nil
	})
	return all, err
}

func (w *world) AddKey(_ context.Context, user string, public []byte, _ time.Time) (id string, err error) {
	err = w.call("add", func() error {
		id = w.add(user, string(public), w.now)
		return nil
	})
	return id, err
}

func (w *world) RemoveKey(_ context.Context, user, id string) error {
	return w.call("remove "+id, func() error {
		delete(w.keys[user], id)
		return nil
	})
}

func (w *world) Ask(_ context.Context, id string, q eventlog.KeyRequest) (a eventlog.KeyAnswer, err error) {
	err = w.call(string(q.Phase), func() error {
		d := w.devices[id]
		if d.offline {
			return errors.New("the device is not connected")
		}
		a = eventlog.KeyAnswer{DeviceID: id}
		switch q.Phase {
		case eventlog.KeyCreate:
			if d.pending == "" {
				w.next++
				d.pending = fmt.Sprint("public ", w.next)
			}
			a.PublicKey = d.pending
		case eventlog.KeyAdopt:
			_, stands := w.keys[d.user][q.KeyID]
			switch {
			case d.key == q.KeyID:
			case w.hides || !stands || d.pending == "" || w.public[q.KeyID] != d.pending:
				a.Error = "the device keeps its key, as the provider gave no token for the new one"
			default:
				d.key, d.pending, a.Expires = q.KeyID, "", q.Expires
			}
		}
		a.KeyID, a.UserID, a.Pending = d.key, d.user, d.pending != ""
		a.Proof = prove(d.key, d.user, q.Nonce, a.PublicKey)
		if w.forge != nil {
			w.forge(q, &a)
		}
		return nil
	})
	return a, err
}

func (w *world) rotator(force bool) *rotate.Rotator {
	r, err := rotate.New(rotate.Options{
		Provider: w, Issuer: w, Bus: w, Force: force, Random: func() float64 { return 0.5 },
		Now: func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now },
	})
	if err != nil {
		panic(err)
	}
	return r
}

// standing are the ids of a device's keys at the provider.
func (w *world) standing(id string) []string { return slices.Sorted(maps.Keys(w.keys[id])) }

func TestADeviceGetsANewKeyBesideItsOldOne(t *testing.T) {
	t.Parallel()
	w := newWorld(device)
	got := w.rotator(false).Rotate(t.Context(), device)
	want := rotate.Result{Device: device, Outcome: rotate.Rotated, KeyID: "key-3", Expires: today.Add(730*24*time.Hour + 3*time.Second), Removed: []string{"key-1"}}
	if diff := gocmp.Diff(want, got, cmpopts.EquateErrors()); diff != "" {
		t.Errorf("result (-want +got)\n%s", diff)
	}
	if diff := gocmp.Diff([]string{"show", "list", "create", "add", "adopt", "list", "remove key-1"}, w.calls); diff != "" {
		t.Errorf("calls (-want +got)\n%s", diff)
	}
	if got := w.standing(device); !slices.Equal(got, []string{"key-3"}) {
		t.Errorf("keys %q stand", got)
	}
	if again := w.rotator(false).Rotate(t.Context(), device); again.Outcome != rotate.Recent || again.KeyID != "key-3" {
		t.Errorf("run again: %+v", again)
	}
	if again := w.rotator(true).Rotate(t.Context(), device); again.Outcome != rotate.Rotated || again.KeyID == "key-3" {
		t.Errorf("forced: %+v", again)
	}
}

func TestWhatCannotBeRotatedSaysWhyAndKeepsItsKey(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		before func(*world)
		says   string
		stands []string
	}{
		"the device is away":                     {func(w *world) { w.devices[device].offline = true }, "not connected", []string{"key-1"}},
		"its machine user is named as another":   {func(w *world) { w.devices[device].user = "pi-02" }, `machine user "pi-02"`, []string{"key-1"}},
		"the provider gives no token for it":     {func(w *world) { w.hides = true }, "the device says: the device keeps its key", []string{"key-1"}},
		"the provider is away":                   {func(w *world) { w.faults = []fault{none, lost} }, "list its keys: the network is away", []string{"key-1"}},
		"the answer to adopt is lost":            {func(w *world) { w.faults = []fault{none, none, none, none, unsaid, lost} }, "it is not known whether the device did", []string{"key-1", "key-3"}},
		"the former key cannot be removed today": {func(w *world) { w.faults = []fault{none, none, none, none, none, none, lost} }, "it has its new key key-3; remove its former key key-1", []string{"key-1", "key-3"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(device)
			tc.before(w)
			got := w.rotator(false).Rotate(t.Context(), device)
			if got.Outcome != rotate.Failed || got.Err == nil || !strings.Contains(got.Err.Error(), tc.says) {
				t.Errorf("result %+v", got)
			}
			if got := w.standing(device); !slices.Equal(got, tc.stands) {
				t.Errorf("keys %q stand, want %q", got, tc.stands)
			}
		})
	}
}

// Who holds a token of a device, or owns a NATS server, can answer in its place. They
// get no key in its name, and take none from it.
func TestWhoCannotSignByTheDevicesKeyGetsNoKeyInItsName(t *testing.T) {
	t.Parallel()
	var earlier string
	for name, forge := range map[string]func(eventlog.KeyRequest, *eventlog.KeyAnswer){
		"a public key of another": func(_ eventlog.KeyRequest, a *eventlog.KeyAnswer) { a.PublicKey = "public of a thief" },
		"with a proof that is no signature": func(q eventlog.KeyRequest, a *eventlog.KeyAnswer) {
			a.PublicKey = "public of a thief"
			a.Proof = strings.TrimSuffix(prove("key-1", device, q.Nonce, a.PublicKey), "key-1") + "junk"
		},
		"without a proof": func(_ eventlog.KeyRequest, a *eventlog.KeyAnswer) { a.PublicKey, a.Proof = "public of a thief", "" },
		"with a key of the thief's own": func(q eventlog.KeyRequest, a *eventlog.KeyAnswer) {
			a.KeyID, a.Proof = "thief", prove("thief", device, q.Nonce, a.PublicKey)
		},
		"with the proof of another user": func(q eventlog.KeyRequest, a *eventlog.KeyAnswer) {
			a.Proof = prove("key-1", "pi-02", q.Nonce, a.PublicKey)
		},
		"with a proof that was heard earlier": func(_ eventlog.KeyRequest, a *eventlog.KeyAnswer) {
			earlier = cmp.Or(earlier, a.Proof)
			a.Proof = earlier
		},
		"adopted, which the device did not": func(q eventlog.KeyRequest, a *eventlog.KeyAnswer) {
			if q.Phase == eventlog.KeyAdopt {
				*a = eventlog.KeyAnswer{DeviceID: device, UserID: device, KeyID: q.KeyID, Proof: prove("key-1", device, q.Nonce, "")}
			}
		},
		"a refusal of what the device did": func(q eventlog.KeyRequest, a *eventlog.KeyAnswer) {
			if q.Phase == eventlog.KeyAdopt {
				*a = eventlog.KeyAnswer{DeviceID: device, UserID: device, KeyID: "key-1", Error: "no"}
			}
		},
	} {
		w := newWorld(device)
		w.forge = forge
		got := w.rotator(false).Rotate(t.Context(), device)
		if got.Outcome != rotate.Failed || got.Err == nil || !strings.Contains(got.Err.Error(), "does not prove") {
			t.Errorf("%s: %+v", name, got)
		}
		if _, ok := w.keys[device][w.devices[device].key]; !ok {
			t.Errorf("%s: the device's key is gone", name)
		}
		for id, public := range w.public {
			if strings.Contains(public, "thief") {
				t.Errorf("%s: key %s is added", name, id)
			}
		}
	}
}

// Two runs at once give a device a key each. Whatever the one does before any call of the
// other, the device's key stands.
func TestTwoRunsAtOnceLockNoDeviceOut(t *testing.T) {
	t.Parallel()
	for at := range 9 {
		for _, stop := range []int{100, 1, 2, 3, 4, 5, 6, 7} { // calls of the second run until it is broken off
			w := newWorld(device)
			w.at, w.meanwhile = at, func() {
				for range stop {
					w.faults = append(w.faults, none)
				}
				w.faults = append(w.faults, lost, lost, lost, lost, lost, lost, lost, lost)
				w.rotator(true).Rotate(t.Context(), device)
				w.faults = nil
			}
			first := w.rotator(true).Rotate(t.Context(), device)
			if key := w.devices[device].key; !slices.Contains(w.standing(device), key) {
				t.Errorf("before call %d, of %d calls: %+v; the device has %s, and %q stand after %q", at, stop, first, key, w.standing(device), w.calls)
			}
			w.now = w.now.AddDate(1, 0, 0)
			last := w.rotator(false).Rotate(t.Context(), device)
			if !slices.Equal(w.standing(device), []string{w.devices[device].key}) {
				t.Errorf("before call %d, of %d calls, and then %+v: the device has %s, and %q stand", at, stop, last, w.devices[device].key, w.standing(device))
			}
		}
	}
}

// Whatever fails and whenever a run is broken off, the key that the device has stands
// at the provider. A run without faults ends with that key alone.
func TestNoFaultLocksADeviceOutAndARunWithoutFaultsEndsWithOneKey(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(device)
		for range rapid.IntRange(0, 3).Draw(t, "runs with faults") {
			w.faults = rapid.SliceOfN(rapid.SampledFrom([]fault{none, none, none, lost, unsaid}), 0, 9).Draw(t, "faults")
			w.hides = rapid.Float64().Draw(t, "hides") < 0.2
			ctx, cancel := context.WithCancel(context.Background())
			w.rotator(rapid.Bool().Draw(t, "force")).Rotate(ctx, device)
			cancel()
			w.faults, w.hides = nil, false
			w.now = w.now.Add(time.Duration(rapid.IntRange(0, 48).Draw(t, "hours")) * time.Hour)
			if _, ok := w.keys[device][w.devices[device].key]; !ok {
				t.Fatalf("the device has key %s, and %q stand after %q", w.devices[device].key, w.standing(device), w.calls)
			}
		}
		got := w.rotator(false).Rotate(context.Background(), device)
		if got.Err != nil || got.KeyID != w.devices[device].key || !slices.Equal(w.standing(device), []string{got.KeyID}) || got.KeyID == "key-1" {
			t.Fatalf("%+v; the device has %s, and %q stand after %q", got, w.devices[device].key, w.standing(device), w.calls)
		}
	})
}

func TestManyDevicesAtOnceAndOneThatFailsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	var ids []string
	for i := range 50 {
		ids = append(ids, fmt.Sprintf("pi-%02d", i))
	}
	w := newWorld(ids...)
	w.devices["pi-07"].offline = true
	told := 0
	results := w.rotator(false).Many(t.Context(), ids, 20, func(rotate.Result) { told++ })
	for i, r := range results {
		want := rotate.Rotated
		if r.Device == "pi-07" {
			want = rotate.Failed
		}
		if r.Device != ids[i] || r.Outcome != want {
			t.Errorf("result %d: %+v", i, r)
		}
	}
	if told != len(ids) {
		t.Errorf("%d were told of %d", told, len(ids))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, r := range w.rotator(true).Many(ctx, ids, 3, func(rotate.Result) {}) {
		if !errors.Is(r.Err, rotate.ErrNotBegun) {
			t.Errorf("after the end: %+v", r)
		}
	}
}

func TestKeysEndAfterTwoYearsGiveOrTakeAQuarter(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for random, want := range map[float64]time.Duration{0: (730 - 91) * day, 0.5: 730 * day, 0.75: (730*24 + 91*12) * time.Hour} {
		if got := rotate.Expiry(today, random).Sub(today); got != want {
			t.Errorf("at %v a key lives %s, want %s", random, got, want)
		}
	}
}
