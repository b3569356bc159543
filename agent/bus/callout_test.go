package bus_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/agent/identity"
)

// accountsWithCallout has what crosses between the accounts; deploy/accounts has
// the whole of it. A device is let in by the auth callout of the test, for which servers
// wait long, as a busy machine stands still for seconds.
const accountsWithCallout = `
authorization { timeout: 20, auth_callout { issuer: %s, account: AUTH, auth_users: [callout, fleet] } }
accounts {
  AUTH { users: [{ user: callout, password: x }] }
  FLEET {
    jetstream: enabled
    users: [{ user: fleet, password: x }]
    exports: [
      { service: "fleet.evt.state.*.*", accounts: [DEVICES] }
      { service: "fleet.sync.*", accounts: [DEVICES], response_type: Stream }
      { stream: "fleet.live.desired.*.*", accounts: [DEVICES] }
    ]
    imports: [{ service: { account: DEVICES, subject: "device-commands.>" }, share: true }]
  }
  DEVICES {
    imports: [
      { service: { account: FLEET, subject: "fleet.evt.state.*.*" } }
      { service: { account: FLEET, subject: "fleet.sync.*" } }
      { stream: { account: FLEET, subject: "fleet.live.desired.*.*" } }
    ]
    exports: [{ service: "device-commands.>", accounts: [FLEET], response_type: Stream }]
  }
}`

// callout lets a device in by a token of the test's own: its id and when it ends.
type callout struct {
	t      *testing.T
	issuer nkeys.KeyPair
	public string
}

func newCallout(t *testing.T) *callout {
	t.Helper()
	issuer, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	public, err := issuer.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return &callout{t: t, issuer: issuer, public: public}
}

func (c *callout) config() string { return fmt.Sprintf(accountsWithCallout, c.public) }

func (c *callout) serve(nc *nats.Conn) {
	c.t.Helper()
	if _, err := nc.Subscribe("$SYS.REQ.USER.AUTH", func(m *nats.Msg) {
		request, err := jwt.DecodeAuthorizationRequestClaims(string(m.Data))
		if err != nil {
			return
		}
		answer := jwt.NewAuthorizationResponseClaims(request.UserNkey)
		answer.Audience = request.Server.ID
		if answer.Jwt, err = c.user(request); err != nil {
			answer.Jwt, answer.Error = "", err.Error()
		}
		if out, err := answer.Encode(c.issuer); err == nil {
			_ = m.Respond([]byte(out)) // the server asks again
		}
	}); err != nil {
		c.t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *callout) user(request *jwt.AuthorizationRequestClaims) (string, error) {
	id, end, _ := strings.Cut(request.ConnectOptions.Token, ".")
	ends, err := strconv.ParseInt(end, 10, 64)
	if err != nil || time.Now().Unix() >= ends {
		return "", fmt.Errorf("token %q has ended", request.ConnectOptions.Token)
	}
	u := jwt.NewUserClaims(request.UserNkey)
	u.Name, u.Audience, u.Expires = "device-"+id, "DEVICES", ends
	u.Pub.Allow = jwt.StringList{"fleet.evt.state." + id + ".*", "fleet.sync." + id}
	u.Sub.Allow = jwt.StringList{"fleet.live.desired." + id + ".*", "device-commands." + id + ".*", "_INBOX." + id + ".>"}
	u.Resp = &jwt.ResponsePermission{MaxMsgs: -1, Expires: time.Hour}
	return u.Encode(c.issuer)
}

// tokens are credentials whose tokens come when the test wants.
type tokens struct {
	mu      sync.Mutex
	proof   identity.Proof
	changed chan struct{}
	refused int
}

func newTokens() *tokens { return &tokens{changed: make(chan struct{}, 1)} }

// issue gives the device a new token; servers count its end in whole seconds.
func (k *tokens) issue(life time.Duration) {
	ends := time.Now().Add(life + time.Second).Truncate(time.Second)
	k.mu.Lock()
	k.proof = identity.Proof{Token: fmt.Sprintf("%s.%d", device, ends.Unix()), Number: k.proof.Number + 1, Ends: ends}
	k.mu.Unlock()
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

func (k *tokens) Show() (identity.Proof, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !time.Now().Before(k.proof.Ends) {
		return identity.Proof{}, identity.ErrNoToken
	}
	return k.proof, nil
}

func (k *tokens) Accepted(identity.Proof) {}

func (k *tokens) Refused(identity.Proof) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refused++
}
