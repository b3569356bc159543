package provider

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	fleetchart "fleet.nationtech.io/deploy/chart"
)

// Wanted is what a person asks for.
type Wanted struct {
	// Issuer is the address by which browsers, devices and pods reach the provider, such as
	// https://auth.example.com. It is in each device's configuration, and cannot change.
	Issuer string
	// DatabaseSecret has the database's connection string under key dsn, and may have the
	// authority of its certificate under key ca.crt.
	DatabaseSecret string
	Replicas       int
	IngressClass   string // empty: the cluster's default one
	// TLSSecret is the certificate that the ingress shows; empty: the controller's own.
	TLSSecret string
	// Values are of Zitadel's chart, over those that are made here.
	Values fleetchart.Values
}

// outside is the provider's address in the parts that Zitadel's configuration has.
type outside struct {
	domain string
	port   int
	secure bool
}

func (w Wanted) outside() (outside, error) {
	u, err := url.Parse(w.Issuer)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || u.Path+u.RawQuery+u.Fragment != "" || u.User != nil {
		return outside{}, fmt.Errorf("the provider's address %q must be a URL without a path, such as https://auth.example.com", w.Issuer)
	}
	o := outside{domain: u.Hostname(), secure: u.Scheme == "https", port: 80}
	if o.secure {
		o.port = 443
	}
	if u.Port() == "" {
		return o, nil
	}
	if o.port, err = strconv.Atoi(u.Port()); err != nil {
		return outside{}, fmt.Errorf("the provider's address %q: %w", w.Issuer, err)
	}
	return o, nil
}

// Check says what is wrong.
func (w Wanted) Check() error {
	_, err := w.outside()
	if w.DatabaseSecret == "" {
		err = errors.Join(err, errors.New("the database's Secret needs a name"))
	}
	if w.Replicas < 1 {
		err = errors.Join(err, errors.New("the provider needs a replica or more"))
	}
	return err
}

const (
	// SetupAccount is the first machine user of an instance, and the Secret with its key.
	SetupAccount = "fleet-setup"

	// MasterkeySecret encrypts the provider's database. It is made once.
	MasterkeySecret = "fleet-zitadel-masterkey"
	masterkeyKey    = "masterkey"
	// ConfigSecret has what of the configuration is secret: the first person's password.
	ConfigSecret = "fleet-zitadel-config"
	configKey    = "config-yaml"

	keyDSN = "dsn"
	keyCA  = "ca.crt"

	// setupKeyLife is how long the first account's key holds where nothing removes it.
	setupKeyLife = 30 * 24 * time.Hour
	// loginLife is how long the login pages' token holds: with its end they stop.
	loginLife = 10 * 365 * 24 * time.Hour
	tokenLife = time.Hour
)

// values are those of Zitadel's chart. born is when the instance was first asked for, so
// that its dates are the same in each run.
func values(w Wanted, openShift bool, d database, born time.Time) (fleetchart.Values, error) {
	at, err := w.outside()
	if err != nil {
		return nil, err
	}
	day := func(life time.Duration) string {
		return born.Add(life).UTC().Truncate(24 * time.Hour).Format(time.RFC3339)
	}
	machine := func(name string) fleetchart.Values { return fleetchart.Values{"Username": name, "Name": name} }
	ingress := fleetchart.Values{"enabled": true, "className": w.IngressClass}
	switch {
	case w.TLSSecret != "":
		ingress["tls"] = []any{fleetchart.Values{"hosts": []any{at.domain}, "secretName": w.TLSSecret}}
	case openShift:
		ingress["tls"] = []any{fleetchart.Values{}} // an edge Route with the router's certificate
	}
	pod := fleetchart.Values{"runAsNonRoot": true, "seccompProfile": fleetchart.Values{"type": "RuntimeDefault"}}
	container := fleetchart.Values{
		"runAsNonRoot": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "capabilities": fleetchart.Values{"drop": []any{"ALL"}},
	}
	if openShift { // a null removes the user that the chart names: the cluster chooses it
		pod["runAsUser"], pod["fsGroup"], container["runAsUser"] = nil, nil, nil
	}
	zitadel := fleetchart.Values{
		"masterkeySecretName": MasterkeySecret, "configSecretName": ConfigSecret, "configSecretKey": configKey,
		"configmapConfig": fleetchart.Values{
			"ExternalDomain": at.domain, "ExternalPort": at.port, "ExternalSecure": at.secure,
			"TLS":             fleetchart.Values{"Enabled": false}, // the ingress ends it
			"DefaultInstance": fleetchart.Values{"OIDCSettings": fleetchart.Values{"AccessTokenLifetime": tokenLife.String()}},
			"FirstInstance": fleetchart.Values{"Org": fleetchart.Values{
				"Name": "fleet",
				"Human": fleetchart.Values{
					"UserName": AdminName, "Email": fleetchart.Values{"Address": AdminName + "@" + mailDomain(at.domain), "Verified": true}, "PasswordChangeRequired": true,
				},
				"Machine": fleetchart.Values{
					"Machine": machine(SetupAccount), "MachineKey": fleetchart.Values{"Type": 1, "ExpirationDate": day(setupKeyLife)},
					"Pat": nil, // a token that lives for years would be as powerful as the key
				},
				"LoginClient": fleetchart.Values{"Machine": machine("login-client"), "Pat": fleetchart.Values{"ExpirationDate": day(loginLife)}},
			}},
		},
	}
	if d.ownCA {
		zitadel["dbSslCaCrtSecret"] = w.DatabaseSecret
	}
	made := fleetchart.Values{
		"zitadel": zitadel,
		"env": []any{fleetchart.Values{
			"name": "ZITADEL_DATABASE_POSTGRES_DSN", "valueFrom": fleetchart.Values{"secretKeyRef": fleetchart.Values{"name": w.DatabaseSecret, "key": keyDSN}},
		}},
		"podAnnotations": fleetchart.Values{"fleet.nationtech.io/database": d.mark}, // pods read it at their start
		"replicaCount":   w.Replicas, "ingress": ingress,
		"login":              fleetchart.Values{"replicaCount": w.Replicas, "ingress": ingress},
		"podSecurityContext": pod, "securityContext": container,
		"pdb": fleetchart.Values{"enabled": w.Replicas > 1, "minAvailable": 1},
		// Its hook deletes the Secrets that the setup writes, which are removed here.
		"cleanupJob": fleetchart.Values{"enabled": false},
	}
	return fleetchart.Merge(made, w.Values), nil
}

// AdminName is the first person of an instance.
const AdminName = "admin"

// mailDomain is what an address may end with; the instance of an address has none.
func mailDomain(domain string) string {
	if net.ParseIP(domain) != nil {
		return "example.invalid"
	}
	return domain
}
