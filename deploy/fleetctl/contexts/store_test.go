package contexts_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/fleetctl/contexts"
)

func newStore(t *testing.T) contexts.Store {
	t.Helper()
	dir := t.TempDir()
	s, err := contexts.Directories(func(name string) string {
		if name == "XDG_CONFIG_HOME" {
			return dir
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// natsCLI writes a context as the nats CLI does.
func natsCLI(t *testing.T, s contexts.Store, name, text string) {
	t.Helper()
	file := filepath.Join(s.NATSDir, "nats", "context", name+".json")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func save(t *testing.T, s contexts.Store, c contexts.Context) {
	t.Helper()
	if err := s.Save(c); err != nil {
		t.Fatal(err)
	}
}

func TestAnOwnContextComesBeforeOneOfTheNATSCLI(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	if all, err := s.List(); len(all) != 0 || err != nil {
		t.Errorf("an empty store lists %v, %v", all, err)
	}
	save(t, s, contexts.Context{Name: "prod", URL: "tls://own:4222", User: "alice", Password: "hunter2"})
	natsCLI(t, s, "prod", `{"url":"tls://theirs:4222","user":"bob","password":"hunter2"}`)
	natsCLI(t, s, "lab", `{"url":"nats://u:hunter2@lab:4222","token":"hunter2"}`)
	natsCLI(t, s, "creds", `{"url":"tls://c:4222","creds":"/x/y.creds"}`)

	for name, want := range map[string]string{
		"prod": "tls://own:4222 user alice false", "nats:prod": "tls://theirs:4222 user bob false",
		"lab": "nats://lab:4222 token true", "nats:creds": "tls://c:4222 credentials false",
	} {
		c, err := s.Find(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		bearer := "false"
		if c.ByToken() {
			bearer = "true"
		}
		if got := c.Servers() + " " + c.Login() + " " + bearer; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if diff := cmp.Diff([]string{"prod", "nats:creds", "nats:lab", "nats:prod"}, s.Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	for _, unknown := range []string{"other", "nats:other", "nats:"} {
		if _, err := s.Find(unknown); !errors.Is(err, contexts.ErrUnknown) {
			t.Errorf("%s: %v", unknown, err)
		}
	}
	info, err := os.Stat(filepath.Join(s.Dir, "fleet", "contexts", "prod.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of a context: %v, %v", info.Mode(), err)
	}
}

func TestTheSelectedContextIsForgottenWithItsContext(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	if _, err := s.Select("prod"); !errors.Is(err, contexts.ErrUnknown) {
		t.Errorf("an unknown one is selected: %v", err)
	}
	save(t, s, contexts.Context{Name: "prod", URL: "tls://own:4222", User: "alice"})
	natsCLI(t, s, "lab", `{"url":"tls://lab:4222"}`)
	for _, name := range []string{"lab", "prod"} {
		if _, err := s.Select(name); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Selected(); got != "prod" {
		t.Errorf("selected %q", got)
	}
	if err := s.Remove("lab"); !errors.Is(err, contexts.ErrUnknown) {
		t.Errorf("a context of the nats CLI is removed: %v", err)
	}
	if err := s.Remove("prod"); err != nil || s.Selected() != "" {
		t.Errorf("removed: %v; selected %q", err, s.Selected())
	}
}

func TestWhatIsWrongWithAContextIsSaid(t *testing.T) {
	t.Parallel()
	provider := contexts.Context{Name: "x", URL: "tls://a:1", Issuer: "https://auth.example.org", ClientID: "1", Project: "2"}
	with := func(change func(*contexts.Context)) contexts.Context {
		c := provider
		change(&c)
		return c
	}
	for name, tt := range map[string]struct {
		context contexts.Context
		says    string // empty: nothing is wrong
	}{
		"a provider":                     {provider, ""},
		"a key":                          {with(func(c *contexts.Context) { c.ClientID, c.KeyFile = "", "k" }), ""},
		"a user":                         {contexts.Context{Name: "x", URL: "nats://a:1", User: "alice", Password: "p"}, ""},
		"a server without a scheme":      {contexts.Context{Name: "x", URL: "a:4222", User: "alice"}, ""},
		"no server":                      {with(func(c *contexts.Context) { c.URL = "" }), "--url"},
		"WebSocket mixed with others":    {with(func(c *contexts.Context) { c.URL = "wss://a,tls://b" }), "mixes WebSocket"},
		"a name with a slash":            {with(func(c *contexts.Context) { c.Name = "../x" }), "at most 63 letters"},
		"the prefix of the nats CLI":     {with(func(c *contexts.Context) { c.Name = "nats:x" }), "at most 63 letters"},
		"an issuer with a slash":         {with(func(c *contexts.Context) { c.Issuer += "/" }), "without a trailing slash"},
		"an issuer in plaintext":         {with(func(c *contexts.Context) { c.Issuer = "http://a" }), "not encrypted"},
		"one that is allowed":            {with(func(c *contexts.Context) { c.Issuer, c.InsecurePlaintext = "http://a", true }), ""},
		"no project":                     {with(func(c *contexts.Context) { c.Project = "" }), "--project"},
		"neither a client nor a key":     {with(func(c *contexts.Context) { c.ClientID = "" }), "--client-id"},
		"a client without a provider":    {contexts.Context{Name: "x", URL: "tls://a:1", ClientID: "1"}, "--issuer"},
		"a provider and a user":          {with(func(c *contexts.Context) { c.User = "alice" }), "one thing"},
		"a password without a user":      {contexts.Context{Name: "x", URL: "tls://a:1", Password: "hunter2"}, "need --user"},
		"a password and a file for it":   {contexts.Context{Name: "x", URL: "tls://a:1", User: "u", Password: "hunter2", PasswordFile: "f"}, "exclude each other"},
		"a user and credentials at once": {contexts.Context{Name: "x", URL: "tls://a:1", User: "u", CredsFile: "f"}, "exclude each other"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tt.context.Check()
			switch {
			case (err != nil) != (tt.says != ""), err != nil && !strings.Contains(err.Error(), tt.says):
				t.Errorf("error %v, want %q", err, tt.says)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}
