package fleetctl_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/devprovider/devprovidertest"
)

// Each script is the story of a person who sets up a provider ($ISSUER), which has one
// organization, one account (its key is admin.json), the application "console" and the
// person "root". Beside testscript's own commands there are:
//
//	generation early|v1     serve fewer methods of the API in v2
//	approve                 approve the sign-in that waits, as root
//	revoke FILE             remove the key of a file at the provider
//	deactivate NAME         deactivate a user
func TestStoriesOfAProvider(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/provider",
		Setup: func(env *testscript.Env) error {
			p := devprovidertest.Start(t, devprovider.Options{PollInterval: time.Second})
			env.Values["provider"] = p
			env.Setenv("ISSUER", p.Issuer())
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			return populate(p, filepath.Join(env.WorkDir, "admin.json"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"generation": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Value("provider").(*devprovider.Provider).SetGeneration(map[string]devprovider.Generation{
					"early": devprovider.EarlyV2, "v1": devprovider.OnlyV1,
				}[args[0]])
			},
			"approve": func(ts *testscript.TestScript, _ bool, _ []string) {
				p := ts.Value("provider").(*devprovider.Provider)
				for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
					if codes := p.Codes(); len(codes) > 0 {
						ts.Check(p.Approve(codes[0], "root"))
						return
					}
					if time.Now().After(end) {
						ts.Fatalf("nobody signs in")
					}
				}
			},
			"revoke": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(ts.Value("provider").(*devprovider.Provider).RemoveKey(keyIDOf(ts, args[0])))
			},
			"deactivate": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(ts.Value("provider").(*devprovider.Provider).SetActive(args[0], false))
			},
		},
	})
}

func populate(p *devprovider.Provider, keyFile string) error {
	const organization = "1000"
	p.AddOrganization(devprovider.Organization{ID: organization, Name: "ACME"})
	p.AddProject("console")
	if _, err := p.AddApplication(devprovider.Application{ClientID: "console", Project: "console", Native: true}); err != nil {
		return err
	}
	for _, u := range []devprovider.User{{ID: "admin", Machine: true, TokenType: devprovider.JWT}, {ID: "nobody", Machine: true}, {ID: "root"}} {
		u.Organization = organization
		if _, err := p.AddUser(u); err != nil {
			return err
		}
		if u.ID != "nobody" {
			p.AddAdministrator(u.ID, "", "IAM_OWNER")
		}
	}
	for id, file := range map[string]string{"admin": keyFile, "nobody": filepath.Join(filepath.Dir(keyFile), "nobody.json")} {
		text, err := p.AddKey(id, time.Now().Add(time.Hour))
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func keyIDOf(ts *testscript.TestScript, file string) string {
	var key devprovider.KeyFile
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(file)), &key))
	return key.KeyID
}
