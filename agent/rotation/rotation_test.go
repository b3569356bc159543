package rotation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"fleet.nationtech.io/agent/keyfile"
	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/agent/rotation"
	"fleet.nationtech.io/eventlog"
)

const issuer = "https://auth.example.org"

// provider gives tokens for keys after a number of refusals.
type provider struct {
	refusals int
	asked    []time.Time
	key      *openid.Key
}

func (p *provider) Try(ctx context.Context, k *openid.Key) error {
	p.asked, p.key = append(p.asked, time.Now()), k
	if p.refusals > 0 {
		p.refusals--
		return errors.New("the provider answers invalid_grant")
	}
	return ctx.Err()
}

// device is a device with a key, whose user is named otherwise than the device.
type device struct {
	t        *testing.T
	dir      string
	file     keyfile.File
	provider provider
	adopted  int
	rotation *rotation.Rotation
}

func newDevice(t *testing.T) *device {
	t.Helper()
	d := &device{t: t, dir: t.TempDir()}
	d.file = keyfile.At(filepath.Join(d.dir, "key.json"))
	if _, err := d.file.Create(); err != nil {
		t.Fatal(err)
	}
	if err := d.file.Adopt(keyfile.Adoption{KeyID: "old", UserID: "user-of-pi-01", Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	var err error
	d.rotation, err = rotation.New(rotation.Options{Device: "pi-01", Issuer: issuer, File: d.file, Trial: &d.provider, Now: time.Now, Adopted: func() { d.adopted++ }})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *device) ask(ctx context.Context, q eventlog.KeyRequest) eventlog.KeyAnswer {
	d.t.Helper()
	b, err := json.Marshal(q)
	if err != nil {
		d.t.Fatal(err)
	}
	a := d.rotation.Answer(ctx, "ada", b)
	if text, err := json.Marshal(a); err != nil || bytes.Contains(text, []byte("PRIVATE")) {
		d.t.Errorf("the answer %s (%v) holds a private key", text, err)
	}
	d.proven(q, a)
	a.Proof = ""
	return a
}

// proven checks that the key of which an answer speaks signed it.
func (d *device) proven(q eventlog.KeyRequest, a eventlog.KeyAnswer) {
	d.t.Helper()
	k, err := openid.ReadKey(d.file.Path())
	if err != nil {
		d.t.Fatal(err)
	}
	claims := jwt.MapClaims{}
	proof, err := jwt.ParseWithClaims(a.Proof, claims, func(*jwt.Token) (any, error) { return k.Public(), nil }, jwt.WithAudience(issuer), jwt.WithSubject(a.UserID), jwt.WithTimeFunc(time.Now))
	if err != nil {
		d.t.Fatalf("the proof %q: %v", a.Proof, err)
	}
	if proof.Header["kid"] != a.KeyID || claims[eventlog.ClaimKeyNonce] != q.Nonce || claims[eventlog.ClaimKeyPublic] != eventlog.KeyDigest(a.PublicKey) {
		d.t.Errorf("the proof of %v says %v", proof.Header, claims)
	}
}

// files are the names in the key's directory.
func (d *device) files() (names []string) {
	d.t.Helper()
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestANewKeyIsAdoptedOnceTheProviderGivesATokenForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t)
		made := d.ask(t.Context(), eventlog.KeyRequest{Phase: eventlog.KeyCreate, Nonce: "n-1"})
		if made.Error != "" || made.KeyID != "old" || made.UserID != "user-of-pi-01" || !made.Pending || !strings.HasPrefix(made.PublicKey, "-----BEGIN PUBLIC KEY-----") {
			t.Fatalf("made %+v", made)
		}
		if again := d.ask(t.Context(), eventlog.KeyRequest{Phase: eventlog.KeyCreate}); again != made {
			t.Errorf("made again %+v", again)
		}
		d.provider.refusals = 5
		q := eventlog.KeyRequest{Phase: eventlog.KeyAdopt, KeyID: "new", Expires: time.Now().AddDate(2, 0, 0).UTC()}
		began := time.Now()
		got := d.ask(t.Context(), q)
		want := eventlog.KeyAnswer{DeviceID: "pi-01", KeyID: "new", UserID: "user-of-pi-01", Expires: q.Expires}
		if got != want {
			t.Errorf("adopted %+v, want %+v", got, want)
		}
		if took := time.Since(began); took != 10*time.Second || len(d.provider.asked) != 6 {
			t.Errorf("the provider was asked %d times in %s", len(d.provider.asked), took)
		}
		if d.provider.key.ID != "new" || d.provider.key.UserID != "user-of-pi-01" || d.adopted != 1 {
			t.Errorf("key %s of %s was tried; %d adoptions were told", d.provider.key.ID, d.provider.key.UserID, d.adopted)
		}
		if got := d.ask(t.Context(), q); got != want || len(d.provider.asked) != 6 {
			t.Errorf("adopted again %+v after %d tries", got, len(d.provider.asked))
		}
		if got := d.ask(t.Context(), eventlog.KeyRequest{Phase: eventlog.KeyShow}); got != want {
			t.Errorf("shown %+v", got)
		}
		if got := d.files(); !slices.Equal(got, []string{"key.json"}) {
			t.Errorf("the files are %q", got)
		}
	})
}

func TestADeviceThatGetsNoTokenKeepsItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t)
		before, err := os.ReadFile(d.file.Path())
		if err != nil {
			t.Fatal(err)
		}
		d.ask(t.Context(), eventlog.KeyRequest{Phase: eventlog.KeyCreate})
		d.provider.refusals = 1000
		began := time.Now()
		got := d.ask(t.Context(), eventlog.KeyRequest{Phase: eventlog.KeyAdopt, KeyID: "new", Expires: time.Now().AddDate(2, 0, 0)})
		if got.KeyID != "old" || !got.Pending || !strings.Contains(got.Error, "keeps its key") || !strings.HasSuffix(got.Error, "invalid_grant") {
			t.Errorf("answer %+v", got)
		}
		if took := time.Since(began); took != eventlog.KeyAdoptTimeout {
			t.Errorf("it took %s", took)
		}
		after, err := os.ReadFile(d.file.Path())
		if err != nil || !bytes.Equal(before, after) || d.adopted != 0 {
			t.Errorf("the key file changed (%v); %d adoptions were told", err, d.adopted)
		}
		if got := d.files(); !slices.Equal(got, []string{"key.json", "key.json.pending"}) {
			t.Errorf("the files are %q", got)
		}
	})
}

func TestWhatCannotBeDoneIsAnsweredWithASentence(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.ask(t.Context(), eventlog.KeyRequest{Phase: eventlog.KeyCreate})
	later := time.Now().AddDate(2, 0, 0).UTC().Format(time.RFC3339)
	for name, tc := range map[string]struct{ request, says string }{
		"no JSON":                   {`-----BEGIN`, "no JSON of command key"},
		"an empty request":          {``, "no JSON of command key"},
		"a phase of another time":   {`{"phase":"forget"}`, `"forget" is no phase of command key; phases: show, create, adopt`},
		"a key without an id":       {`{"phase":"adopt","expires":"` + later + `"}`, "key id"},
		"a key without an end":      {`{"phase":"adopt","key_id":"new"}`, "past by this device's clock"},
		"a key that ended":          {`{"phase":"adopt","key_id":"new","expires":"2020-01-01T00:00:00Z"}`, "would end at 2020-01-01T00:00:00Z"},
		"a nonce that is a book":    {`{"phase":"show","nonce":"` + strings.Repeat("x", 65) + `"}`, "the nonce has 65 bytes"},
		"an id that is a sentence":  {`{"phase":"adopt","key_id":"a b","expires":"` + later + `"}`, "key id"},
		"an id of more than a line": {`{"phase":"adopt","key_id":"` + strings.Repeat("x", 300) + `","expires":"` + later + `"}`, "key id"},
	} {
		a := d.rotation.Answer(t.Context(), "ada", []byte(tc.request))
		if !strings.Contains(a.Error, tc.says) || a.KeyID != "old" || a.PublicKey != "" {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if len(d.provider.asked) != 0 {
		t.Error("the provider was asked")
	}
}

// While one request is in progress another one is refused, and the key is shown.
func TestOneRequestAtATimeChangesTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t)
		d.ask(t.Context(), eventlog.KeyRequest{Phase: eventlog.KeyCreate})
		d.provider.refusals = 1000
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan eventlog.KeyAnswer)
		go func() {
			done <- d.ask(ctx, eventlog.KeyRequest{Phase: eventlog.KeyAdopt, KeyID: "new", Expires: time.Now().AddDate(2, 0, 0)})
		}()
		synctest.Wait()
		if got := d.ask(t.Context(), eventlog.KeyRequest{Phase: eventlog.KeyCreate}); !strings.Contains(got.Error, "in progress") || !got.Busy {
			t.Errorf("a second request: %+v", got)
		}
		if got := d.ask(t.Context(), eventlog.KeyRequest{Phase: eventlog.KeyShow}); got.Error != "" || got.KeyID != "old" {
			t.Errorf("shown: %+v", got)
		}
		stop() // the agent ends
		if got := <-done; got.KeyID != "old" || got.Error == "" {
			t.Errorf("after the agent's end: %+v", got)
		}
	})
}
