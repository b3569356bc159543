package credentials_test

import (
	"bytes"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/authority"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install/credentials"
)

func fill(t *testing.T, there credentials.Secrets) credentials.Secrets {
	t.Helper()
	s, err := credentials.Fill(there)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCredentialsAreMadeOnce(t *testing.T) {
	t.Parallel()
	first := fill(t, nil)
	for _, name := range credentials.Names() {
		for key, value := range first[name] {
			if len(value) == 0 {
				t.Errorf("%s, key %s is empty", name, key)
			}
		}
	}
	second := fill(t, first)
	for name := range first {
		if !maps.EqualFunc(first[name], second[name], bytes.Equal) {
			t.Errorf("%s was made a second time", name)
		}
	}
	if other := fill(t, nil); bytes.Equal(other[names.SecretOperator][names.KeyPassword], first[names.SecretOperator][names.KeyPassword]) {
		t.Error("two fleets have one password")
	}
}

// A version that needs one more password makes that one alone, and what a person put
// beside it stays.
func TestWhatIsMissingIsMadeBesideWhatIsThere(t *testing.T) {
	t.Parallel()
	there := credentials.Secrets{names.SecretOperator: {names.KeyUser: []byte("somebody"), "note": []byte("by hand"), names.KeyPassword: {}}}
	s := fill(t, there)
	got := s[names.SecretOperator]
	if string(got[names.KeyUser]) != "somebody" || string(got["note"]) != "by hand" || len(got[names.KeyPassword]) == 0 {
		t.Errorf("got %q", got)
	}
	if len(there[names.SecretOperator][names.KeyPassword]) > 0 {
		t.Error("the caller's own Secrets were changed")
	}
}

func TestTheAccountsOfTheCredentialsAreAConfigurationThatServersTake(t *testing.T) {
	t.Parallel()
	s := fill(t, nil)
	for _, withCallout := range []bool{false, true} {
		users, err := s.Users(withCallout)
		if err != nil {
			t.Fatal(err)
		}
		text, err := accounts.Render(users, accounts.RenderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		o, err := accounts.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if (o.AuthCallout != nil) != withCallout {
			t.Errorf("auth callout: %v, want %t", o.AuthCallout, withCallout)
		}
		again, err := accounts.Render(users, accounts.RenderOptions{})
		if err != nil || !bytes.Equal(text, again) {
			t.Error("the same credentials give two configurations: servers would be restarted for nothing")
		}
	}
}

func TestASeedThatIsTornIsNamed(t *testing.T) {
	t.Parallel()
	s := fill(t, nil)
	s[names.SecretCallout][names.KeyXKeySeed] = []byte("SXTORN")
	if _, err := s.Users(true); err == nil || !strings.Contains(err.Error(), names.SecretCallout) || !strings.Contains(err.Error(), names.KeyXKeySeed) {
		t.Errorf("got %v", err)
	}
}

func TestTheServersCertificateIsRenewedWhenItMustBe(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	ca := newCA(t, now)
	hosts := credentials.Hosts{Namespace: "fleet-system", Outside: []string{"devices.example.com", "192.0.2.7"}}
	first := certificate(t, ca, authority.Pair{}, hosts, now, "there was none")
	elsewhere := hosts
	elsewhere.Namespace = "other"
	tests := map[string]struct {
		ca    *authority.Authority
		hosts credentials.Hosts
		there authority.Pair
		at    time.Time
		why   string
	}{
		"it serves still":           {ca, hosts, first, now.AddDate(1, 11, 0), ""},
		"less than a third is left": {ca, hosts, first, now.AddDate(2, 1, 0), "ends on 2029-11-28"},
		"it has ended":              {ca, hosts, first, now.AddDate(4, 0, 0), "ends on 2029-11-28"},
		"another name outside":      {ca, credentials.Hosts{Namespace: "fleet-system", Outside: []string{"d.example.com", "192.0.2.7"}}, first, now, "names are others"},
		"one more address":          {ca, credentials.Hosts{Namespace: "fleet-system", Outside: append(hosts.Outside, "2001:db8::1")}, first, now, "addresses are others"},
		"another namespace":         {ca, elsewhere, first, now, "names are others"},
		"another authority":         {newCA(t, now), hosts, first, now, "did not sign"},
		"torn":                      {ca, hosts, authority.Pair{Certificate: []byte("torn")}, now, "cannot be read"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := certificate(t, tt.ca, tt.there, tt.hosts, tt.at, tt.why)
			if kept := bytes.Equal(got.Certificate, tt.there.Certificate); kept != (tt.why == "") {
				t.Errorf("kept: %t", kept)
			}
		})
	}
}

// Near the authority's end a certificate ends with it, and is not made once more by
// each run.
func TestACertificateDoesNotOutliveItsAuthority(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	ca := newCA(t, now)
	hosts := credentials.Hosts{Namespace: "fleet-system", Outside: []string{net.IPv4(192, 0, 2, 1).String()}}
	late := ca.Ends().AddDate(0, -1, 0)
	pair := certificate(t, ca, authority.Pair{}, hosts, late, "none")
	certificate(t, ca, pair, hosts, late.Add(24*time.Hour), "")
	if _, _, err := credentials.Certificate(ca, pair, hosts, ca.Ends().Add(time.Hour)); err == nil || !strings.Contains(err.Error(), "authority ended") {
		t.Errorf("after the authority's end: %v", err)
	}
}

func newCA(t *testing.T, now time.Time) *authority.Authority {
	t.Helper()
	ca, err := authority.New("fleet CA", now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func certificate(t *testing.T, ca *authority.Authority, there authority.Pair, h credentials.Hosts, now time.Time, want string) authority.Pair {
	t.Helper()
	pair, why, err := credentials.Certificate(ca, there, h, now)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(why, want) || want == "" && why != "" {
		t.Errorf("made because %q, want %q", why, want)
	}
	return pair
}
