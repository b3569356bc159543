package setup_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/devprovider/devprovidertest"
	"fleet.nationtech.io/deploy/zitadel"
	"fleet.nationtech.io/deploy/zitadel/setup"
)

const people = "4000"

// world is a new instance with its first account, as an installer leaves it.
type world struct {
	*devprovider.Provider
	t       *testing.T
	session *zitadel.Session
	dir     string // of the keys
	wanted  setup.Wanted
	now     time.Time
}

func start(t *testing.T, o devprovider.Options, g devprovider.Generation) *world {
	t.Helper()
	p := devprovidertest.Start(t, o)
	p.AddOrganization(devprovider.Organization{ID: people, Name: "ACME"})
	w := &world{Provider: p, t: t, dir: filepath.Join(t.TempDir(), "keys"), now: time.Now(), wanted: setup.Wanted{
		DeviceOrganization: setup.DefaultDeviceOrganization, Project: setup.DefaultProject, DashboardURL: "https://fleet.example.org", KeyLife: setup.DefaultKeyLife,
	}}
	_, err := p.AddUser(devprovider.User{ID: "root", Organization: people, Machine: true, TokenType: devprovider.JWT})
	w.must(err)
	p.AddAdministrator("root", "", "IAM_OWNER")
	p.SetGeneration(g)
	text, err := p.AddKey("root", time.Now().Add(time.Hour))
	w.must(err)
	file := filepath.Join(t.TempDir(), "root.json")
	w.must(os.WriteFile(file, text, 0o600))
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if w.session, err = zitadel.SignIn(t.Context(), zitadel.SignInOptions{Issuer: p.Issuer(), KeyFile: file}); err == nil {
			return w
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) setup() *setup.Setup {
	w.t.Helper()
	c, err := zitadel.New(zitadel.Options{Issuer: w.Issuer(), Tokens: w.session})
	w.must(err)
	s, err := setup.New(setup.Options{Wanted: w.wanted, Client: c, Dir: w.dir, Now: func() time.Time { return w.now }})
	w.must(err)
	return s
}

func (w *world) carry() setup.Outcome {
	w.t.Helper()
	out, err := w.setup().Carry(w.t.Context(), func(setup.Step) {})
	w.must(err)
	return out
}

// changed are the steps of an outcome that did something.
func changed(o setup.Outcome) (all []string) {
	for _, s := range o.Steps {
		if s.Action != setup.Keep {
			all = append(all, string(s.Action)+" "+string(s.Kind)+" "+s.Name)
		}
	}
	return all
}

// files are those of a directory with their modes and contents.
func (w *world) files() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(w.dir)
	w.must(err)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(w.dir, e.Name()))
		w.must(err)
		info, err := e.Info()
		w.must(err)
		all[e.Name()] = info.Mode().String() + " " + string(text)
	}
	return all
}

// call calls the management API as a person does by hand.
func (w *world) call(method, path string, in any) map[string]any {
	w.t.Helper()
	body, err := json.Marshal(in)
	w.must(err)
	token, err := w.session.Token(w.t.Context())
	w.must(err)
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.Issuer()+path, bytes.NewReader(body))
	w.must(err)
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	w.must(err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	w.must(err)
	if res.StatusCode != http.StatusOK {
		w.t.Fatalf("%s %s: %d %s", method, path, res.StatusCode, text)
	}
	var out map[string]any
	w.must(json.Unmarshal(text, &out))
	return out
}

var all = []string{
	"made organization fleet-devices", "made project fleet",
	"made role viewer", "made role operator", "made role admin", "made role service-viewer", "made role service-operator", "made role device",
	"made application fleet-callout", "made application fleetctl", "made application fleet-dashboard",
	"made account fleet-enrolment", "made administrator fleet-enrolment", "made application key callout-key.json", "made account key enrolment-key.json",
}

var servers = map[string]devprovider.Generation{
	"a server with v2": devprovider.Everything, "an early v4 server": devprovider.EarlyV2, "a server with v1 alone": devprovider.OnlyV1,
}

// The second run finds all that the first made, also where the server does not show
// it yet; and what the first made works.
func TestASecondSetupChangesNothing(t *testing.T) {
	t.Parallel()
	for server, g := range servers {
		for lag, d := range map[string]time.Duration{"at once": 0, "after 5 s": 5 * time.Second} {
			t.Run(server+" that shows what was written "+lag, func(t *testing.T) {
				t.Parallel()
				w := start(t, devprovider.Options{Lag: d}, g)
				look, err := w.setup().Look(t.Context())
				w.must(err)
				if diff := cmp.Diff(all, changed(look)); diff != "" {
					t.Errorf("what would be done (-want +got)\n%s", diff)
				}
				if _, err := os.Stat(w.dir); err == nil {
					t.Error("to look made the directory of the keys")
				}
				first := w.carry()
				if diff := cmp.Diff(all, changed(first)); diff != "" {
					t.Fatalf("the first run (-want +got)\n%s", diff)
				}
				files := w.files()
				second := w.carry()
				if second.Changed || len(changed(second)) > 0 {
					t.Errorf("the second run: %q", changed(second))
				}
				if diff := cmp.Diff(files, w.files()); diff != "" {
					t.Error("the second run changed the key files")
				}
				for name, content := range files {
					if !strings.HasPrefix(content, "-rw------- {") {
						t.Errorf("%s is %.12s", name, content)
					}
				}
				first.Steps, second.Steps, first.Changed = nil, nil, false
				if diff := cmp.Diff(first, second); diff != "" {
					t.Errorf("the outcomes (-first +second)\n%s", diff)
				}
				w.works(first)
			})
		}
	}
}

// works enrols a device by the account that was made.
func (w *world) works(o setup.Outcome) {
	w.t.Helper()
	var s *zitadel.Session
	var err error
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { // its key may not be seen yet
		if s, err = zitadel.SignIn(w.t.Context(), zitadel.SignInOptions{Issuer: w.Issuer(), KeyFile: o.AccountKeyFile}); err == nil {
			break
		}
		if time.Now().After(end) {
			w.t.Fatal(err)
		}
	}
	c, err := zitadel.New(zitadel.Options{Issuer: w.Issuer(), Organization: o.DeviceOrganization, Tokens: s})
	w.must(err)
	if created, err := c.EnsureDevice(w.t.Context(), zitadel.Device{ID: "pi-01"}); err != nil || !created {
		w.t.Errorf("a device: created %t, %v", created, err)
	}
	if _, _, err := c.In(o.PeopleOrganization).EnsureMachine(w.t.Context(), "intruder", ""); err == nil {
		w.t.Error("the enrolment account has power in the organization of the people")
	}
}

func TestEachObjectThatIsRemovedByHandComesBack(t *testing.T) {
	t.Parallel()
	for server, g := range servers {
		for name, tt := range map[string]struct {
			remove func(w *world, o setup.Outcome)
			back   []string
		}{
			"the organization": {func(w *world, o setup.Outcome) {
				w.call("DELETE", "/v2/organizations/"+o.DeviceOrganization, nil)
			}, []string{all[0], "made account fleet-enrolment", "made administrator fleet-enrolment", "made account key enrolment-key.json"}},
			"the project": {func(w *world, o setup.Outcome) {
				w.call("DELETE", "/management/v1/projects/"+o.Project, nil)
			}, slices.Concat(all[1:11], []string{"made application key callout-key.json"})},
			"a role": {func(w *world, o setup.Outcome) {
				w.call("DELETE", "/management/v1/projects/"+o.Project+"/roles/admin", nil)
			}, []string{"made role admin"}},
			"the callout's application": {func(w *world, o setup.Outcome) {
				w.call("DELETE", "/management/v1/projects/"+o.Project+"/apps/"+id(o, setup.Application, "fleet-callout"), nil)
			}, []string{"made application fleet-callout", "made application key callout-key.json"}},
			"the application of fleetctl": {func(w *world, o setup.Outcome) {
				w.call("DELETE", "/management/v1/projects/"+o.Project+"/apps/"+id(o, setup.Application, "fleetctl"), nil)
			}, []string{"made application fleetctl"}},
			"the dashboard's application": {func(w *world, o setup.Outcome) {
				w.call("DELETE", "/management/v1/projects/"+o.Project+"/apps/"+id(o, setup.Application, "fleet-dashboard"), nil)
			}, []string{"made application fleet-dashboard"}},
			"the account": {func(w *world, o setup.Outcome) {
				w.must(w.DeleteUser(id(o, setup.Account, "fleet-enrolment")))
			}, []string{"made account fleet-enrolment", "made administrator fleet-enrolment", "made account key enrolment-key.json"}},
			"the account's role": {func(w *world, o setup.Outcome) {
				w.AddAdministrator(id(o, setup.Account, "fleet-enrolment"), o.DeviceOrganization, "ORG_OWNER")
			}, []string{"made administrator fleet-enrolment"}},
			"the callout's key at the provider": {func(w *world, o setup.Outcome) {
				w.must(w.RemoveKey(id(o, setup.ApplicationKey, "callout-key.json")))
			}, []string{"made application key callout-key.json"}},
			"the account's key at the provider": {func(w *world, o setup.Outcome) {
				w.must(w.RemoveKey(id(o, setup.AccountKey, "enrolment-key.json")))
			}, []string{"made account key enrolment-key.json"}},
			"the callout's key file": {func(w *world, o setup.Outcome) {
				w.must(os.Remove(o.CalloutKeyFile))
			}, []string{"made application key callout-key.json"}},
			"the role assertion": {func(w *world, o setup.Outcome) {
				w.call("PUT", "/management/v1/projects/"+o.Project, map[string]any{"name": "fleet", "projectRoleAssertion": false})
			}, []string{"changed project fleet"}},
			"a redirect": {func(w *world, _ setup.Outcome) {
				w.wanted.DashboardURL = "http://localhost:18080/"
			}, []string{"changed application fleet-dashboard"}},
			"the account's activity": {func(w *world, o setup.Outcome) {
				w.must(w.SetActive(id(o, setup.Account, "fleet-enrolment"), false))
			}, []string{"changed account fleet-enrolment"}},
			"the form of the account's tokens": {func(w *world, o setup.Outcome) {
				w.must(w.SetTokenType(id(o, setup.Account, "fleet-enrolment"), devprovider.Opaque))
			}, []string{"changed account fleet-enrolment"}},
			"the time until the keys end": {func(w *world, _ setup.Outcome) {
				w.now = w.now.Add(setup.DefaultKeyLife - 29*24*time.Hour)
			}, []string{"made application key callout-key.json", "made account key enrolment-key.json"}},
		} {
			t.Run(name+" on "+server, func(t *testing.T) {
				t.Parallel()
				w := start(t, devprovider.Options{}, g)
				first := w.carry()
				w.SetGeneration(devprovider.Everything)
				tt.remove(w, first)
				w.SetGeneration(g)
				old := time.Now().Add(-time.Hour) // the files are not those of a moment ago
				for _, file := range []string{first.CalloutKeyFile, first.AccountKeyFile} {
					if _, err := os.Stat(file); err == nil {
						w.must(os.Chtimes(file, old, old))
					}
				}
				again := w.carry()
				if diff := cmp.Diff(tt.back, changed(again)); diff != "" {
					t.Errorf("what came back (-want +got)\n%s", diff)
				}
				if third := w.carry(); third.Changed {
					t.Errorf("the run after that: %q", changed(third))
				}
				if _, err := openid.ReadKey(again.AccountKeyFile); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// id finds the id of an object in an outcome.
func id(o setup.Outcome, kind setup.Kind, name string) string {
	i := slices.IndexFunc(o.Steps, func(s setup.Step) bool { return s.Kind == kind && s.Name == name })
	return o.Steps[i].ID
}

// A setup that is broken off goes on where it was.
func TestASetupThatIsBrokenOffGoesOn(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{}, devprovider.Everything)
	w.SetFault(&devprovider.Fault{Path: "/zitadel.application", Status: http.StatusForbidden, Body: `{"code":"permission_denied","message":"No matching permissions found (AUTH-5mWD2)"}`})
	_, err := w.setup().Carry(t.Context(), func(setup.Step) {})
	if err == nil || !strings.Contains(err.Error(), "ORG_OWNER") {
		t.Fatalf("got %v", err)
	}
	w.SetFault(nil)
	if diff := cmp.Diff(all[8:], changed(w.carry())); diff != "" {
		t.Errorf("the next run (-want +got)\n%s", diff)
	}
}

func TestWhatCannotBeSetUpIsTold(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(w *world)
		says   string
	}{
		"one organization for people and devices": {func(w *world) { w.wanted.DeviceOrganization = "ACME" }, "no power over people"},
		"an unknown organization of people":       {func(w *world) { w.wanted.PeopleOrganization = "Acme" }, "--people-organization"},
		"a file that is no key": {func(w *world) {
			w.must(os.MkdirAll(w.dir, 0o700))
			w.must(os.WriteFile(filepath.Join(w.dir, "callout-key.json"), []byte(`{"key":"secret"`), 0o600))
		}, "move it away"},
		"an application of another type": {func(w *world) {
			p := w.call("POST", "/management/v1/projects", map[string]any{"name": "fleet", "projectRoleAssertion": true})["id"].(string)
			w.call("POST", "/management/v1/projects/"+p+"/apps/api", map[string]any{"name": "fleetctl", "authMethodType": "API_AUTH_METHOD_TYPE_PRIVATE_KEY_JWT"})
		}, "of another type"},
		"a directory that is a file": {func(w *world) { w.must(os.WriteFile(w.dir, nil, 0o600)) }, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, devprovider.Options{}, devprovider.Everything)
			tt.change(w)
			_, err := w.setup().Carry(t.Context(), func(setup.Step) {})
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v; want %q", err, tt.says)
			}
		})
	}
}
