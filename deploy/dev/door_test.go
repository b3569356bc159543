package dev

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"
	"golang.org/x/oauth2"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/dev/provider"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator"
)

const (
	sessionCookie = "__Host-fleet-session"
	attemptCookie = "__Host-fleet-sign-in"
)

// door is a fleet whose dashboard people sign in to.
type door struct {
	*Fleet
	t    *testing.T
	dir  string
	url  string // of the dashboard
	host string
}

// withDoor runs a fleet with identities, and stops it.
func withDoor(t *testing.T, use func(context.Context, door), change ...func(*Options)) {
	t.Helper()
	o := Options{DataDir: t.TempDir(), Devices: 1, Engine: EngineMemory, Auth: AuthOIDC}
	for _, f := range change {
		f(&o)
	}
	log, err := o.logger()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	err = Run(t.Context(), o, func(ctx context.Context, f *Fleet) error {
		if err := online(ctx, f); err != nil { // pages list what was heard of
			return err
		}
		use(ctx, door{f, t, o.DataDir, f.Env.DashboardURL, strings.TrimPrefix(f.Env.DashboardURL, "http://")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (d door) browser() *browser { return newBrowser(d.t, d.Env.NATSCA) }

// person adds somebody at the provider, with the roles of the fleet's project.
func (d door) person(name string, roles ...string) string {
	d.t.Helper()
	if _, err := d.provider.AddUser(devprovider.User{ID: name, Name: "the person " + name, Organization: provider.PeopleOrganization}); err != nil {
		d.t.Fatal(err)
	}
	for _, role := range roles {
		if err := d.provider.GrantRole(name, devprovider.Role{Project: provider.Project, Key: role, Organization: provider.PeopleOrganization}); err != nil {
			d.t.Fatal(err)
		}
	}
	return name
}

// replica runs a second operator, and gives the address of its dashboard. Persons open both by
// the address of the first.
func (d door) replica(ctx context.Context) string {
	d.t.Helper()
	users, err := accounts.LoadUsers(filepath.Join(d.dir, "passwords.json"), accounts.Names{Operator: userOperator, System: userSystem, Lab: userLab, People: []string{userPerson}, Developers: true, Callout: true})
	if err != nil {
		d.t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	op, err := operator.New(operator.Options{
		URL: d.Env.NATSURL, NATSOptions: append(d.Env.NATSOptions(), nats.UserInfo(userOperator, users.Operator.Password)), NATSTrust: d.Env.NATSOptions(),
		RestConfig: d.RestConfig, Identity: "another", SealKeyFile: filepath.Join(d.dir, "seal.nk"), DashboardListener: l,
		DashboardSignIn: operator.SignIn{URL: d.url, Issuer: d.provider.Issuer(), ClientID: provider.DashboardClientID, Project: provider.Project, IssuerCAFile: d.Env.NATSCA},
	})
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- op.Run(ctx) }()
	d.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			d.t.Error(err)
		}
	})
	return "http://" + op.DashboardAddr(ctx).String()
}

// token is an access token of somebody, as a script has it.
func (d door) token(user string) string {
	d.t.Helper()
	b, verifier := d.browser(), oauth2.GenerateVerifier()
	redirect := d.url + "/auth/callback"
	q := url.Values{
		"client_id": {provider.DashboardClientID}, "response_type": {"code"}, "redirect_uri": {redirect}, "state": {"s"},
		"scope":          {"openid urn:zitadel:iam:org:project:id:" + provider.Project + ":aud urn:zitadel:iam:org:projects:roles urn:zitadel:iam:user:resourceowner"},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
	}
	p := b.choose(b.follow(b.get(d.provider.Issuer()+"/oauth/v2/authorize?"+q.Encode())), user)
	back, err := url.Parse(p.Header.Get("Location"))
	if err != nil {
		d.t.Fatal(err)
	}
	p = b.do(http.MethodPost, d.provider.Issuer()+"/oauth/v2/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {redirect},
		"client_id": {provider.DashboardClientID}, "code_verifier": {verifier},
	})
	var said struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(p.body), &said); err != nil || said.Token == "" {
		d.t.Fatalf("%s: %s", p.Status, p.body)
	}
	return said.Token
}

// machineToken is an access token by a machine user's key file.
func (d door) machineToken(ctx context.Context, keyFile string) string {
	d.t.Helper()
	clock := &trust.Clock{}
	servers, err := trust.Beside(clock, d.Env.NATSCA)
	if err != nil {
		d.t.Fatal(err)
	}
	key, err := openid.ReadKey(keyFile)
	if err != nil {
		d.t.Fatal(err)
	}
	asked := openid.New(openid.Options{Issuer: d.provider.Issuer(), Clock: clock, Servers: servers})
	g, err := asked.ByKey(ctx, key, openid.Scopes(provider.Project))
	if err != nil {
		d.t.Fatal(err)
	}
	return g.Token
}

// service adds a machine user with a role of the fleet's project, and gives its key file.
func (d door) service(name, role string) (keyFile string) {
	d.t.Helper()
	_, err := d.provider.AddUser(devprovider.User{ID: name, Organization: provider.PeopleOrganization, Machine: true, TokenType: devprovider.JWT})
	if err == nil {
		err = d.provider.GrantRole(name, devprovider.Role{Project: provider.Project, Key: role, Organization: provider.PeopleOrganization})
	}
	var text []byte
	if err == nil {
		text, err = d.provider.AddKey(name, time.Time{})
	}
	if keyFile = filepath.Join(d.t.TempDir(), "key.json"); err == nil {
		err = os.WriteFile(keyFile, text, 0o600)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return keyFile
}

// access records that a person's access is revoked, or allowed again. No command does so yet.
func (d door) access(ctx context.Context, actor string, t eventlog.Type) {
	d.t.Helper()
	nc, err := d.Env.Connect()
	if err != nil {
		d.t.Fatal(err)
	}
	defer nc.Close()
	draft, err := eventlog.NewDraft(eventlog.AccessSubject(eventlog.AuthSubjectOfActor(actor)), t, time.Now(), eventlog.Access{Reason: "Test"})
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := nc.RequestMsgWithContext(ctx, draft.Message("test", ulid.Make().String())); err != nil {
		d.t.Fatal(err)
	}
}

// follows opens the event stream of a dashboard, and gives what closes when that ends.
func (b *browser) follows(ctx context.Context, address string, header ...string) <-chan struct{} {
	b.t.Helper()
	answer := b.send(ctx, http.MethodGet, address+"/api/v1/events", nil, append([]string{"Accept", "text/event-stream"}, header...)...)
	if answer == nil || answer.StatusCode != http.StatusOK {
		b.t.Fatalf("the event stream of %s: %+v", address, answer)
	}
	lines := bufio.NewReader(answer.Body)
	if _, err := lines.ReadString('\n'); err != nil {
		b.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer answer.Body.Close()
		_, _ = io.Copy(io.Discard, lines) // until it ends, in whatever way
	}()
	return ended
}

// within waits for an end.
func (d door) within(limit time.Duration, what string, ended <-chan struct{}) {
	d.t.Helper()
	select {
	case <-ended:
	case <-time.After(limit):
		d.t.Errorf("%s: not within %s", what, limit)
	}
}

// becomes waits until a page has a status, and gives it.
func (d door) becomes(ctx context.Context, status int, ask func() page) (p page) {
	d.t.Helper()
	err := until(ctx, time.Minute, func(context.Context) (bool, string, error) {
		p = ask()
		return p.StatusCode == status, p.Status, nil
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		d.t.Fatalf("%v\n%s", err, p.body)
	}
	return p
}
