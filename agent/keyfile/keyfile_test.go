package keyfile_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/agent/keyfile"
	"fleet.nationtech.io/agent/openid"
)

var ends = time.Date(2028, 11, 28, 0, 0, 0, 0, time.UTC)

func adoption(id string) keyfile.Adoption {
	return keyfile.Adoption{KeyID: id, UserID: "pi-01", Expires: ends}
}

func create(t *testing.T, f keyfile.File) []byte {
	t.Helper()
	public, err := f.Create()
	if err != nil {
		t.Fatal(err)
	}
	return public
}

func adopt(t *testing.T, f keyfile.File, id string) {
	t.Helper()
	if err := f.Adopt(adoption(id)); err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, public []byte) *rsa.PublicKey {
	t.Helper()
	block, rest := pem.Decode(public)
	if block == nil || block.Type != "PUBLIC KEY" || len(rest) > 0 {
		t.Fatalf("%q is not one public key in PEM", public)
	}
	k, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return k.(*rsa.PublicKey)
}

// alone checks that these files are in a directory and no others, each for its owner
// alone.
func alone(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
		if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s has mode %v (%v)", e.Name(), info.Mode(), err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the directory (-want +got)\n%s", diff)
	}
}

func TestAPairIsMadeAdoptedAndShown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := keyfile.At(filepath.Join(dir, "key.json"))
	if s, err := f.Show(); !errors.Is(err, keyfile.ErrNone) || s != (keyfile.Standing{}) {
		t.Errorf("before: %+v, %v", s, err)
	}
	public := create(t, f)
	if parse(t, public).N.BitLen() != 2048 {
		t.Error("the pair is not RSA-2048")
	}
	alone(t, dir, "key.json.pending")
	if s, err := f.Show(); !errors.Is(err, keyfile.ErrNone) || !s.Pending {
		t.Errorf("while it waits: %+v, %v", s, err)
	}
	if again := create(t, f); !bytes.Equal(public, again) {
		t.Error("the pair that waits is not used again")
	}
	adopt(t, f, "1")
	alone(t, dir, "key.json")
	k, err := openid.ReadKey(filepath.Join(dir, "key.json"))
	if err != nil {
		t.Fatal(err)
	}
	if k.ID != "1" || k.UserID != "pi-01" || !k.Ends.Equal(ends) || !k.Public().Equal(parse(t, public)) {
		t.Errorf("the key file has key %s of %s until %s", k.ID, k.UserID, k.Ends)
	}
	s, err := f.Show()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"key_id":"1","user_id":"pi-01","expires":"2028-11-28T00:00:00Z","pending":false}`; string(text) != want {
		t.Errorf("shown is %s, want %s", text, want)
	}
}

func TestWhatWasBrokenOffGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "key.json")
	f := keyfile.At(path)
	first := create(t, f)
	pending, err := os.ReadFile(f.Pending())
	if err != nil {
		t.Fatal(err)
	}
	adopt(t, f, "1")
	adopt(t, f, "1") // its answer was lost
	leave := func() {
		if err := os.WriteFile(f.Pending(), pending, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	leave() // the power went between the two files
	if s, err := f.Show(); err != nil || s.Pending {
		t.Errorf("a key that the key file holds waits for its id: %+v, %v", s, err)
	}
	if err := f.Adopt(adoption("2")); !errors.Is(err, keyfile.ErrNoPending) {
		t.Errorf("one key under two ids: %v", err)
	}
	adopt(t, f, "1")
	alone(t, dir, "key.json")

	leave()
	second := create(t, f)
	if bytes.Equal(first, second) {
		t.Error("a key that is in use is given out again")
	}
	adopt(t, f, "1") // late: the pair that waits is another one
	if again := create(t, f); !bytes.Equal(second, again) {
		t.Error("the pair that waits was lost")
	}
	adopt(t, f, "2")
	alone(t, dir, "key.json")
	if err := f.Adopt(adoption("3")); !errors.Is(err, keyfile.ErrNoPending) || !strings.Contains(err.Error(), "fleet-agent key create") {
		t.Errorf("without a pair: %v", err)
	}
}

func TestADamagedPairIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := keyfile.At(filepath.Join(dir, "key.json"))
	for name, text := range map[string]string{
		"it is empty":      "",
		"it is cut off":    "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
		"it is no RSA key": "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
	} {
		if err := os.WriteFile(f.Pending(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := f.Show(); !errors.Is(err, keyfile.ErrNone) || s.Pending {
			t.Errorf("%s: shown is %+v, %v", name, s, err)
		}
		if err := f.Adopt(adoption("1")); err == nil || !strings.Contains(err.Error(), "fleet-agent key create") {
			t.Errorf("%s: it is adopted: %v", name, err)
		}
		parse(t, create(t, f))
		alone(t, dir, "key.json.pending")
	}
}

func TestACandidateThatIsDiscardedChangesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "key.json")
	f := keyfile.At(path)
	create(t, f)
	adopt(t, f, "1")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	public := create(t, f)
	c, err := f.Prepare(adoption("2"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Key.ID != "2" || !c.Key.Public().Equal(parse(t, public)) {
		t.Errorf("the candidate is key %s", c.Key.ID)
	}
	c.Discard()
	c.Discard()
	alone(t, dir, "key.json", "key.json.pending")
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the key file changed (%v)", err)
	}
	if again := create(t, f); !bytes.Equal(public, again) {
		t.Error("the pair that waits was lost")
	}
}

func TestWhatNoProviderSaysIsNotAdopted(t *testing.T) {
	t.Parallel()
	f := keyfile.At(filepath.Join(t.TempDir(), "key.json"))
	create(t, f)
	for name, tc := range map[string]struct {
		a    keyfile.Adoption
		says string
	}{
		"no key id":             {keyfile.Adoption{UserID: "a", Expires: ends}, "key id"},
		"a key id of two lines": {keyfile.Adoption{KeyID: "1\n2", UserID: "a", Expires: ends}, "key id"},
		"no user id":            {keyfile.Adoption{KeyID: "1", Expires: ends}, "user id"},
		"an endless user id":    {keyfile.Adoption{KeyID: "1", UserID: strings.Repeat("a", 201), Expires: ends}, "user id"},
		"no end":                {keyfile.Adoption{KeyID: "1", UserID: "a"}, "the key's end is missing"},
	} {
		if err := f.Adopt(tc.a); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhereNothingCanBeWrittenASentenceSaysWhatToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ path, says string }{
		"the directory is missing":   {filepath.Join(dir, "none", "key.json"), "mkdir -m 0700 " + filepath.Join(dir, "none")},
		"the directory is a file":    {filepath.Join(file, "key.json"), "directory " + file + " is not there"},
		"the file system is /proc's": {"/proc/key.json", "/proc"},
	} {
		if _, err := keyfile.At(tc.path).Create(); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
