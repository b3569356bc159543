// Package credentials has the passwords, keys and certificates by which the fleet's
// servers know each other: each is made once, and is kept as long as the fleet.
package credentials

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/chart/names"
)

// Secrets is what Secrets hold, by their names and keys.
type Secrets map[string]map[string][]byte

// SecretAdmin has the login of an administrator, for when no provider can be asked. The
// CronJob of backups is the only pod that has it.
const SecretAdmin = names.SecretAdmin

// SecretAuthority has the certificate authority of the fleet's own, with its key.
const SecretAuthority = "fleet-ca"

// Users that are no devices and no persons.
const (
	operatorUser = "fleet-operator"
	systemUser   = "fleet-system"
	adminUser    = "fleet-admin"
)

// entry is one secret value, and how it is made.
type entry struct {
	secret, key string
	make        func() ([]byte, error)
}

func fixed(text string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(text), nil }
}

func password() ([]byte, error) { return []byte(accounts.NewPassword()), nil }

func seed(create func() (nkeys.KeyPair, error)) func() ([]byte, error) {
	return func() ([]byte, error) {
		pair, err := create()
		if err != nil {
			return nil, err
		}
		return pair.Seed()
	}
}

// entries lists all that is made once.
func entries() []entry {
	return []entry{
		{names.SecretOperator, names.KeyUser, fixed(operatorUser)},
		{names.SecretOperator, names.KeyPassword, password},
		{names.SecretSystem, names.KeyUser, fixed(systemUser)},
		{names.SecretSystem, names.KeyPassword, password},
		{SecretAdmin, names.KeyUser, fixed(adminUser)},
		{SecretAdmin, names.KeyPassword, password},
		{names.SecretCallout, names.KeyAuthPassword, password},
		{names.SecretCallout, names.KeyLogPassword, password},
		{names.SecretCallout, names.KeySysPassword, password},
		{names.SecretCallout, names.KeyIssuerSeed, seed(nkeys.CreateAccount)},
		{names.SecretCallout, names.KeyXKeySeed, seed(nkeys.CreateCurveKeys)},
	}
}

// Names lists the Secrets that are made once, sorted.
func Names() []string {
	all := map[string]bool{}
	for _, e := range entries() {
		all[e.secret] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// Fill gives what the Secrets must hold: what they hold, and values made for what they
// lack. What is there is never replaced, and an empty value is not there.
func Fill(there Secrets) (Secrets, error) {
	all := Secrets{}
	for name, values := range there {
		all[name] = maps.Clone(values)
	}
	for _, e := range entries() {
		if len(all[e.secret][e.key]) > 0 {
			continue
		}
		value, err := e.make()
		if err != nil {
			return nil, fmt.Errorf("secret %s, key %s: %w", e.secret, e.key, err)
		}
		if all[e.secret] == nil {
			all[e.secret] = map[string][]byte{}
		}
		all[e.secret][e.key] = value
	}
	return all, nil
}

func (s Secrets) text(secret, key string) string { return string(s[secret][key]) }

func (s Secrets) login(secret string) accounts.Login {
	return accounts.Login{User: s.text(secret, names.KeyUser), Password: s.text(secret, names.KeyPassword)}
}

// System is the login into the servers' own account.
func (s Secrets) System() accounts.Login { return s.login(names.SecretSystem) }

// Admin is the login of an administrator, for when no provider can be asked.
func (s Secrets) Admin() accounts.Login { return s.login(SecretAdmin) }

// Users is who may connect to the servers with a password: the fleet's own parts and
// the administrator. withCallout has the auth callout asked about all others; without,
// they are refused.
//
// Errors: a seed that cannot be read, with the Secret's name.
func (s Secrets) Users(withCallout bool) (accounts.Users, error) {
	u := accounts.Users{
		Operator: s.login(names.SecretOperator),
		System:   s.System(),
		People:   []accounts.Person{{Login: s.Admin(), Level: callout.Admin}},
	}
	if !withCallout {
		return u, nil
	}
	issuer, err := s.public(names.KeyIssuerSeed, nkeys.FromSeed)
	xkey, xerr := s.public(names.KeyXKeySeed, nkeys.FromCurveSeed)
	if err := errors.Join(err, xerr); err != nil {
		return u, err
	}
	u.Callout = &accounts.Callout{
		Issuer: issuer, XKey: xkey,
		Answers: accounts.Login{User: accounts.CalloutUser, Password: s.text(names.SecretCallout, names.KeyAuthPassword)},
		Log:     accounts.Login{User: accounts.CalloutLogUser, Password: s.text(names.SecretCallout, names.KeyLogPassword)},
		System:  accounts.Login{User: accounts.CalloutSystemUser, Password: s.text(names.SecretCallout, names.KeySysPassword)},
	}
	return u, nil
}

func (s Secrets) public(key string, read func([]byte) (nkeys.KeyPair, error)) (string, error) {
	pair, err := read(s[names.SecretCallout][key])
	if err != nil {
		return "", fmt.Errorf("secret %s, key %s, is no seed: %w; put the right one back from a backup", names.SecretCallout, key, err)
	}
	return pair.PublicKey()
}
