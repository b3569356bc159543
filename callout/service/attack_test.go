package service_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/callout/providertest"
	"fleet.nationtech.io/callout/refusal"
	"fleet.nationtech.io/callout/service"
	"fleet.nationtech.io/eventlog"
)

const owner = "urn:zitadel:iam:user:resourceowner:id"

// login is an attack by what a client sends in CONNECT, and its end.
type login struct {
	token   string
	options []nats.Option
	end     refusal.Reason // empty where the server refuses without asking the callout
}

// loginAttacks lists the attacks by a token or by the form of CONNECT.
func loginAttacks(t *testing.T, p *providertest.Provider) map[string]login {
	good := func() *providertest.Draft { return p.Device("pi-01") }
	evil := providertest.AttackersKey()
	now := time.Now()
	raw := func(header, claims string) string {
		e := base64.RawURLEncoding.EncodeToString
		return e([]byte(header)) + "." + e([]byte(claims)) + "." + e([]byte("signature"))
	}
	parts := strings.Split(good().Token(t), ".")
	other := strings.Split(p.Device("pi-02").Token(t), ".")
	nkey := func() nats.Option {
		pair, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return nats.Nkey(public, pair.Sign)
	}
	device := func(change func(*providertest.Draft)) string {
		d := good()
		change(d)
		return d.Token(t)
	}
	return map[string]login{
		// The form of a token.
		"nothing":                                {end: refusal.TokenMissing},
		"an opaque token":                        {token: "qCD3UlGhUo", end: refusal.OpaqueToken},
		"only dots":                              {token: "..", end: refusal.TokenMalformed},
		"four parts":                             {token: good().Token(t) + ".e30", end: refusal.OpaqueToken},
		"a header that is no base64":             {token: "!." + parts[1] + "." + parts[2], end: refusal.TokenMalformed},
		"claims that are no JSON":                {token: raw(`{"alg":"RS256","kid":"k1"}`, `{`), end: refusal.TokenMalformed},
		"claims that are a list":                 {token: raw(`{"alg":"RS256","kid":"k1"}`, `[]`), end: refusal.TokenMalformed},
		"a header that is null":                  {token: raw(`null`, `{}`), end: refusal.TokenMalformed},
		"a header without alg":                   {token: raw(`{"kid":"k1"}`, `{}`), end: refusal.AlgorithmNotAllowed},
		"base64 with other trailing bits":        {token: otherTrailingBits(good().Token(t)), end: refusal.TokenMalformed},
		"padding after the signature":            {token: good().Token(t) + "==", end: refusal.TokenMalformed},
		"3,600 bytes":                            {token: device(func(d *providertest.Draft) { d.With("x", strings.Repeat("y", 2200)) }), end: refusal.TokenTooLarge},
		"5,000 bytes, which the server refuses":  {token: strings.Repeat("x", 5000)},
		"a hundred nested objects in the claims": {token: raw(`{"alg":"RS256","kid":"k1"}`, strings.Repeat(`{"a":`, 100)+"1"+strings.Repeat("}", 100)), end: refusal.BadSignature},

		// Algorithm, header and key.
		"alg none": {token: good().Sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType).Token(t), end: refusal.AlgorithmNotAllowed},
		"alg nOnE": {token: raw(`{"alg":"nOnE","kid":"k1"}`, `{}`), end: refusal.AlgorithmNotAllowed},
		"alg none with the signature of a good one": {token: strings.Split(raw(`{"alg":"none","kid":"k1"}`, `{}`), ".")[0] + "." + parts[1] + "." + parts[2], end: refusal.AlgorithmNotAllowed},
		"HS256 with the public key as secret":       {token: good().Sign(jwt.SigningMethodHS256, providertest.PublicPEM(t)).Token(t), end: refusal.AlgorithmNotAllowed},
		"HS256 with an empty secret":                {token: good().Sign(jwt.SigningMethodHS256, []byte{}).Token(t), end: refusal.AlgorithmNotAllowed},
		"RS512 by the right key":                    {token: good().Sign(jwt.SigningMethodRS512, nil).Token(t), end: refusal.AlgorithmNotAllowed},
		"PS256 by the right key":                    {token: good().Sign(jwt.SigningMethodPS256, nil).Token(t), end: refusal.AlgorithmNotAllowed},
		"alg that is a list":                        {token: raw(`{"alg":["RS256"],"kid":"k1"}`, `{}`), end: refusal.AlgorithmNotAllowed},
		"no kid":                                    {token: good().Head("kid", nil).Token(t), end: refusal.KeyIDMissing},
		"a kid that is a path":                      {token: good().Head("kid", "../../etc/passwd").Token(t), end: refusal.KeyUnknown},
		"a kid of 2 KB":                             {token: good().Head("kid", strings.Repeat("k", 2000)).Token(t), end: refusal.KeyUnknown},
		"a kid that is an object":                   {token: good().Head("kid", map[string]any{}).Token(t), end: refusal.KeyIDMissing},
		"an unknown kid":                            {token: good().Head("kid", "k9").Token(t), end: refusal.KeyUnknown},
		"crit":                                      {token: good().Head("crit", []string{"exp"}).Token(t), end: refusal.HeaderNotAllowed},
		"crit that is null":                         {token: good().Head("crit", json.RawMessage("null")).Token(t), end: refusal.HeaderNotAllowed},
		"typ of a DPoP proof":                       {token: good().Head("typ", "dpop+jwt").Token(t), end: refusal.HeaderNotAllowed},
		"a key of its own in the header":            {token: good().Head("jwk", map[string]string{"kty": "RSA"}).Sign(jwt.SigningMethodRS256, evil).Token(t), end: refusal.BadSignature},
		"a URL of its own keys in the header":       {token: good().Head("jku", "http://127.0.0.1:1/keys").Sign(jwt.SigningMethodRS256, evil).Token(t), end: refusal.BadSignature},
		"a certificate of its own in the header":    {token: good().Head("x5u", "http://127.0.0.1:1/c").Head("x5c", []string{"AAAA"}).Sign(jwt.SigningMethodRS256, evil).Token(t), end: refusal.BadSignature},
		"another key under a known kid":             {token: good().Sign(jwt.SigningMethodRS256, evil).Token(t), end: refusal.BadSignature},
		"the claims of another token":               {token: parts[0] + "." + other[1] + "." + parts[2], end: refusal.BadSignature},
		"the signature of another token":            {token: parts[0] + "." + parts[1] + "." + other[2], end: refusal.BadSignature},
		"no signature":                              {token: parts[0] + "." + parts[1] + ".", end: refusal.BadSignature},

		// Claims.
		"another issuer":                    {token: good().With("iss", "https://evil.example.com").Token(t), end: refusal.WrongIssuer},
		"the issuer with a slash":           {token: good().With("iss", p.Issuer()+"/").Token(t), end: refusal.WrongIssuer},
		"the issuer in capitals":            {token: good().With("iss", strings.ToUpper(p.Issuer())).Token(t), end: refusal.WrongIssuer},
		"the issuer under the name ISS":     {token: good().With("iss", nil).With("ISS", p.Issuer()).Token(t), end: refusal.WrongIssuer},
		"another project's token":           {token: good().With("aud", []string{providertest.OtherProject}).Token(t), end: refusal.WrongAudience},
		"no audience":                       {token: good().With("aud", nil).Token(t), end: refusal.WrongAudience},
		"an audience that begins as ours":   {token: good().With("aud", []string{providertest.Project + "0"}).Token(t), end: refusal.WrongAudience},
		"an audience with a number":         {token: good().With("aud", []any{3012}).Token(t), end: refusal.WrongAudience},
		"expired":                           {token: good().With("exp", now.Add(-time.Second).Unix()).Token(t), end: refusal.Expired},
		"expired, within what others allow": {token: good().With("exp", now.Add(-10*time.Second).Unix()).Token(t), end: refusal.Expired},
		"never expires":                     {token: good().With("exp", nil).Token(t), end: refusal.ExpiryMissing},
		"exp that is a text":                {token: good().With("exp", fmt.Sprint(now.Add(time.Hour).Unix())).Token(t), end: refusal.TokenMalformed},
		"exp after the end of time":         {token: good().With("exp", 1e18).Token(t), end: refusal.TokenMalformed},
		"exp before time":                   {token: good().With("exp", -1).Token(t), end: refusal.TokenMalformed},
		"EXP in place of exp":               {token: good().With("exp", nil).With("EXP", now.Add(time.Hour).Unix()).Token(t), end: refusal.ExpiryMissing},
		"not yet valid":                     {token: good().With("nbf", now.Add(time.Hour).Unix()).Token(t), end: refusal.NotYetValid},
		"issued tomorrow":                   {token: good().With("iat", now.Add(24*time.Hour).Unix()).Token(t), end: refusal.NotYetValid},
		"an ID token":                       {token: good().With("nonce", "n").With("at_hash", "h").Token(t), end: refusal.IDToken},
		"no subject":                        {token: good().With("sub", nil).Token(t), end: refusal.SubjectMissing},
		"SUB in place of sub":               {token: good().With("sub", nil).With("SUB", "pi-01").Token(t), end: refusal.SubjectMissing},
		"a subject that is a list":          {token: good().With("sub", []string{"pi-01"}).Token(t), end: refusal.TokenMalformed},

		// Whose it is.
		"a person without a role":                              {token: p.Person("17").Token(t), end: refusal.NoRole},
		"a person with a role of another project":              {token: p.Person("17").With("urn:zitadel:iam:org:project:9999:roles", map[string]any{"admin": map[string]any{providertest.People: "x"}}).Token(t), end: refusal.NoRole},
		"a person with a role that another organization gave":  {token: p.Person("17").Role("admin", providertest.OtherOrg).Token(t), end: refusal.NoRole},
		"a person with a role that the devices' managers gave": {token: p.Person("17").Role("admin", providertest.Devices).Token(t), end: refusal.NoRole},
		"a person with a device's id":                          {token: p.Person("pi-01").Token(t), end: refusal.NoRole},
		"another organization's machine with a device's id":    {token: good().With(owner, providertest.OtherOrg).Token(t), end: refusal.NoRole},
		"a machine that names no organization":                 {token: good().With(owner, nil).Token(t), end: refusal.NoRole},
		"a machine whose organization is a list":               {token: good().With(owner, []string{providertest.Devices}).Token(t), end: refusal.TokenMalformed},
		"role device that another organization gave":           {token: good().With(owner, providertest.OtherOrg).Role("device", providertest.OtherOrg).Token(t), end: refusal.NoRole},
		"role device that the people's organization gave":      {token: good().With(owner, providertest.OtherOrg).Role("device", providertest.People).Token(t), end: refusal.NoRole},
		"a device with a person's role":                        {token: good().Role("admin", providertest.People).Token(t), end: refusal.TwoKinds},
		"a person with the device role":                        {token: p.Person("17", "viewer").Role("viewer", providertest.People).Role("device", providertest.Devices).Token(t), end: refusal.TwoKinds},
		"a person who is a service":                            {token: p.Person("17", "viewer", "service-operator").Token(t), end: refusal.TwoKinds},
		"a device id with a dot":                               {token: p.Device("pi-01.x").Token(t), end: refusal.BadName},
		"a device id that is a wildcard":                       {token: p.Device("*").Token(t), end: refusal.BadName},
		"a device id that is all subjects":                     {token: p.Device(">").Token(t), end: refusal.BadName},
		"a device id with a space":                             {token: p.Device("pi 01").Token(t), end: refusal.BadName},
		"a device id with a line end":                          {token: p.Device("pi-01\n").Token(t), end: refusal.BadName},
		"a device id in capitals":                              {token: p.Device("PI-01").Token(t), end: refusal.BadName},
		"a device id of 64 letters":                            {token: p.Device(strings.Repeat("a", 64)).Token(t), end: refusal.BadName},
		"a device id in Cyrillic":                              {token: p.Device("рi-01").Token(t), end: refusal.BadName},
		"a device that claims another id":                      {token: good().With("device_id", "pi-02").Token(t), end: refusal.DeviceIDsDisagree},
		"a device with another id in its metadata":             {token: good().With("urn:zitadel:iam:user:metadata", map[string]string{"device_id": "cGktMDI"}).Token(t), end: refusal.DeviceIDsDisagree},
		"a person whose subject has a dot":                     {token: p.Person("17.>", "viewer").Token(t), end: refusal.BadName},
		"a person whose subject is a wildcard":                 {token: p.Person("*", "operator").Token(t), end: refusal.BadName},

		// The form of CONNECT. The server judges configured users without the callout.
		"an unknown user":                              {options: []nats.Option{nats.UserInfo("device-pi-01", "x")}, end: refusal.UnknownUser},
		"a token as a user's password":                 {options: []nats.Option{nats.UserInfo("device-pi-01", good().Token(t))}, end: refusal.UnknownUser},
		"a configured user with a wrong password":      {options: []nats.Option{nats.UserInfo("operator", "wrong")}},
		"the callout's own user with a wrong password": {options: []nats.Option{nats.UserInfo("callout", "")}},
		"an nkey that nobody knows":                    {options: []nats.Option{nkey()}}, // the server gives no nonce to sign
	}
}

func otherTrailingBits(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last^1])
}

func TestEachAttackByATokenEndsAsItShould(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start()
	attacks := loginAttacks(t, w.provider)
	for name, a := range attacks {
		t.Run(name, func(t *testing.T) {
			asked, before := r.metric(t, "fleet_callout_decisions_total"), r.metric(t, "fleet_callout_decisions_total", `"`+string(a.end)+`"`)
			try := func() {
				if nc, err := w.dial(a.token, a.options...); err == nil {
					nc.Close()
					t.Fatal("the attacker is in")
				}
			}
			try()
			if a.end == "" {
				if n := r.metric(t, "fleet_callout_decisions_total"); n != asked {
					t.Errorf("the callout was asked")
				}
				return
			}
			eventually(t, "the callout says "+string(a.end), func() bool {
				if r.metric(t, "fleet_callout_decisions_total", `"`+string(a.end)+`"`) > before {
					return true
				}
				try() // a busy machine drops requests
				return false
			})
		})
	}
	if n := w.connections("DEVICES", ""); n != 0 {
		t.Errorf("%d connections are open", n)
	}
	w.connect(w.provider.Device("pi-01").Token(t)) // whose id so many wanted
	t.Logf("%d attacks by a token", len(attacks))
	if len(attacks) < 80 {
		t.Errorf("%d attacks, want at least 80", len(attacks))
	}
}

// subjects that nobody who comes by a token may publish on, but for an admin.
func closedToPublish() []string {
	all := []string{
		"$SYS.REQ.USER.AUTH", "$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.ACCOUNT.FLEET.CONNZ", "$SYS.REQ.SERVER.X.KICK", "$SYS.REQ.CLAIMS.UPDATE", "$SYS._INBOX.x",
		"$JS.API.INFO", "$JS.API.STREAM.CREATE.X", "$JS.API.STREAM.UPDATE.FLEET", "$JS.API.STREAM.DELETE.FLEET", "$JS.API.STREAM.PURGE.FLEET",
		"$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.FLEET", "$JS.API.STREAM.MSG.GET.FLEET", "$JS.API.STREAM.MSG.DELETE.FLEET",
		"$JS.API.STREAM.SNAPSHOT.FLEET", "$JS.API.STREAM.RESTORE.FLEET", "$JS.API.CONSUMER.CREATE.FLEET", "$JS.API.CONSUMER.CREATE.FLEET.x.fleet.evt.>",
		"$JS.API.CONSUMER.DURABLE.CREATE.FLEET.x", "$JS.API.CONSUMER.DELETE.FLEET.x", "$JS.API.CONSUMER.INFO.FLEET.x", "$JS.API.CONSUMER.MSG.NEXT.FLEET.x",
		"$JS.API.CONSUMER.LIST.FLEET", "$JS.API.CONSUMER.NAMES.FLEET", "$JS.API.META.LEADER.STEPDOWN", "$JS.API.ACCOUNT.PURGE.FLEET", "$JS.API.SERVER.REMOVE",
		"$JS.ACK.FLEET.x.1.1.1.1.1", "$JS.FC.FLEET.x", "$KV.desired-state.pi-02.web", "$O.fleet-checkpoints.M.x",
		"_INBOX.pi-02.x", "_INBOX.callout.x", "_R_.x", "fleet.live.desired.pi-02.web", "fleet.restoring",
		eventlog.LeaderSubject, eventlog.SealSubject, eventlog.DesiredSubject("pi-02", "web"), eventlog.DesiredSubject("pi-01", "web"),
		eventlog.DeviceSubject("pi-01"), eventlog.AccessSubject("pi-01"), eventlog.AccessSubject("pi-02"), eventlog.AuthSubject("pi-01"),
		eventlog.CommandSubject("pi-01"), eventlog.DeploymentSubject("shop", "web"), eventlog.RequestSubject("operator", "shop", "web"),
		eventlog.RequestSubject("person-18", "shop", "web"), eventlog.DeviceRequestSubject("person-18", "pi-01"),
		eventlog.StateSubject("pi-02", "web"), eventlog.InfoSubject("pi-02"), eventlog.AgentSubject("pi-02"), eventlog.PulseSubject("pi-02"), eventlog.SyncSubject("pi-02"),
	}
	return all
}

// subjects that nobody who comes by a token may subscribe to, but for an admin.
func closedToSubscribe() []string {
	return []string{
		">", "*", "*.>", "fleet.>", "$SYS.>", "$SYS.REQ.USER.AUTH", "$JS.>", "$KV.>", "_INBOX.>", "_INBOX.*.>", "_INBOX.pi-02.>", "_R_.>",
		"fleet.live.desired.>", "fleet.live.desired.*.*", "fleet.live.desired.pi-02.*", "device-commands.>", "device-commands.pi-02.*", "fleet.sync.*", "fleet.pulse.*",
	}
}

func TestAnIdentityReachesNothingThatIsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start()
	logins := 0.0
	mayPublish := map[string][]string{
		"a viewer":    nil,
		"an operator": {eventlog.SyncSubject("pi-02")},
	}
	count := 0
	for name, tt := range map[string]struct {
		draft *providertest.Draft
		actor string
	}{
		"a device":    {w.provider.Device("pi-01"), "pi-01"},
		"a viewer":    {w.provider.Person("17", "viewer"), "person-17"},
		"an operator": {w.provider.Person("17", "operator"), "person-17"},
		"a service":   {w.provider.Person("ci", "service-viewer"), "service-ci"},
	} {
		violations := make(chan error, 16)
		nc := w.connect(tt.draft.Token(t), nats.CustomInboxPrefix(eventlog.InboxPrefix(tt.actor)),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { violations <- err }))
		logins++
		r.await(t, "fleet_callout_events_total", logins, `"granted"`) // each login is another grant
		last := w.lastSequence()
		violated := func(what string) {
			t.Helper()
			count++
			select {
			case err := <-violations:
				if !errors.Is(err, nats.ErrPermissionViolation) {
					t.Errorf("%s: %s: %v", name, what, err)
				}
			case <-time.After(time.Minute):
				t.Errorf("%s: %s is open", name, what)
			}
		}
		for _, s := range closedToPublish() {
			if contains(mayPublish[name], s) {
				continue
			}
			if err := nc.PublishRequest(s, eventlog.InboxPrefix(tt.actor)+".answer", []byte(`{}`)); err != nil {
				t.Fatal(err)
			}
			violated("publish " + s)
		}
		for _, s := range closedToSubscribe() {
			for _, queue := range []string{"", "fleet-callout"} {
				sub, err := nc.QueueSubscribeSync(s, queue)
				if queue == "" {
					sub, err = nc.SubscribeSync(s)
				}
				if err != nil {
					t.Fatal(err)
				}
				violated("subscribe " + s)
				_ = sub.Unsubscribe() // the server has no such subscription
			}
		}
		if n := w.lastSequence(); n != last {
			t.Errorf("%s: the log grew from %d to %d", name, last, n)
		}
		nc.Close()
	}
	t.Logf("%d attacks on subjects", count)
}

// raw logs in by the protocol itself, sends a line and gives the server's error.
func (w *world) raw(token, line string) string {
	w.t.Helper()
	c, lines := w.rawLogin(token)
	fmt.Fprintf(c, "%s\r\n", line)
	if !until(lines, "-ERR") {
		return "nothing"
	}
	return lines.Text()
}

func (w *world) rawLogin(token string) (net.Conn, *bufio.Scanner) {
	w.t.Helper()
	for range 5 { // a busy machine drops requests
		c, err := net.Dial("tcp", strings.TrimPrefix(w.server.URL(), "nats://"))
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { _ = c.Close() }) // the server may have closed it
		if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
			w.t.Fatal(err)
		}
		lines := bufio.NewScanner(c)
		if fmt.Fprintf(c, "CONNECT {\"verbose\":false,\"auth_token\":%q}\r\nPING\r\n", token); until(lines, "PONG") {
			return c, lines
		}
	}
	w.t.Fatal("not logged in")
	return nil, nil
}

// A server takes a second CONNECT on one connection, has it decided again, and tells
// nobody that the user is another one now.
func TestASecondCONNECTGivesWhatItsTokenGivesAndIsRevokedWithIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	c, lines := w.rawLogin(w.provider.Device("pi-01").Token(t))
	if fmt.Fprintf(c, "CONNECT {\"auth_token\":%q}\r\nPING\r\n", w.provider.Device("pi-02").Token(t)); !until(lines, "PONG") {
		t.Fatalf("the second CONNECT is refused: %s", lines.Text())
	}
	if fmt.Fprint(c, "PUB fleet.evt.info.pi-01 0\r\n\r\n"); !until(lines, "-ERR 'Permissions Violation") {
		t.Error("it may still publish as the first device")
	}
	began := time.Now()
	w.revoke("pi-02")
	for lines.Scan() {
		continue // until the server ends the connection
	}
	if took := time.Since(began); took > tooLate {
		t.Errorf("it ended %v after the revocation", took)
	}
	c, lines = w.rawLogin(w.provider.Device("pi-01").Token(t))
	if fmt.Fprint(c, "CONNECT {}\r\nPING\r\n"); until(lines, "PONG") {
		t.Error("a second CONNECT without a token is let in")
	}
}

func until(lines *bufio.Scanner, begins string) bool {
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), begins) {
			return true
		}
	}
	return false
}

func contains(all []string, s string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}

// What a client says of itself beside its token changes nothing.
func TestAClientDoesNotChooseItsName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	for name, connect := range map[string]func(url, token string) (*nats.Conn, error){
		"by a name": func(url, token string) (*nats.Conn, error) {
			return nats.Connect(url, nats.Token(token), nats.Name("operator"), nats.Timeout(20*time.Second))
		},
		"by a user beside the token": func(url, token string) (*nats.Conn, error) {
			return nats.Connect(strings.Replace(url, "nats://", "nats://device-pi-02:x@", 1), nats.Token(token), nats.Timeout(20*time.Second))
		},
	} {
		t.Run(name, func(t *testing.T) {
			nc, err := connect(w.server.URL(), w.provider.Device("pi-01").Token(t))
			if err != nil {
				return // refused: so be it
			}
			defer nc.Close()
			// One that was closed before may be known to the server for a moment more.
			eventually(t, "one connection of device-pi-01", func() bool { return w.connections("DEVICES", "device-pi-01") == 1 })
		})
	}
}

func TestATokenOpensNoMoreThanItsLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	for name, tt := range map[string]struct{ line, says string }{
		"a payload of 1 MB":  {"PUB fleet.evt.info.pi-01 1048576", "Maximum Payload Violation"},
		"a subject of 4 KB":  {"PUB fleet.evt.info." + strings.Repeat("x", 4096) + " 0", "maximum control line exceeded"},
		"a line without end": {"PUB " + strings.Repeat("x", 8192), "maximum control line exceeded"},
		"a route's protocol": {"RS+ DEVICES fleet.>", "Unknown Protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			if said := w.raw(w.provider.Device("pi-01").Token(t), tt.line); !strings.Contains(strings.ToLower(said), strings.ToLower(tt.says)) {
				t.Errorf("the server says %q, want %q", said, tt.says)
			}
		})
	}
	t.Run("the 65th subscription is refused", func(t *testing.T) {
		refused := make(chan error, 1)
		nc := w.connect(w.provider.Device("pi-02").Token(t), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }),
			nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
				select {
				case refused <- err:
				default:
				}
			}))
		for i := range 65 {
			if _, err := nc.SubscribeSync(fmt.Sprintf("_INBOX.pi-02.%d", i)); err != nil {
				return // the connection has ended
			}
		}
		_ = nc.Flush() // the connection may have ended
		select {
		case err := <-refused:
			t.Logf("it is refused: %v", err)
		case <-time.After(time.Minute):
			t.Error("65 subscriptions are open")
		}
	})
}

// Junk kids must neither become load on the provider nor hold anybody up.
func TestAFloodOfUnknownKeysReachesNeitherProviderNorDevices(t *testing.T) {
	t.Parallel()
	for _, fault := range []providertest.Fault{providertest.Healthy, providertest.Hanging, providertest.Slow, providertest.Empty, providertest.Down} {
		t.Run("provider "+string(fault), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.start(func(o *service.Options) { o.KeysMinInterval = 500 * time.Millisecond })
			w.provider.SlowBy(300 * time.Millisecond)
			w.provider.Break(fault)
			before, began := w.provider.KeyReads(), time.Now()
			stop, flooded := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(flooded)
				slots := make(chan struct{}, 64)
				for i := 0; ; i++ {
					select {
					case <-stop:
						for range cap(slots) {
							slots <- struct{}{}
						}
						return
					case slots <- struct{}{}:
					}
					token := w.provider.Device("pi-01").Head("kid", fmt.Sprintf("junk-%d", i)).Token(t)
					go func() {
						defer func() { <-slots }()
						if nc, err := w.dial(token); err == nil {
							nc.Close()
							t.Error("a junk kid is let in")
						}
					}()
				}
			}()
			for i := range 20 {
				w.connect(w.provider.Device(fmt.Sprintf("ok-%d", i)).Token(t))
			}
			took := time.Since(began)
			close(stop)
			<-flooded
			reads := w.provider.KeyReads() - before
			if most := int64(time.Since(began)/(500*time.Millisecond)) + 2; reads > most {
				t.Errorf("%d reads of the keys within %v, at most %d are due", reads, time.Since(began), most)
			}
			t.Logf("20 devices were in after %v, beside %v junk tokens; %d reads of the keys", took.Round(time.Millisecond),
				r.metric(t, "fleet_callout_decisions_total")-20, reads)
		})
	}
}
