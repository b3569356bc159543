package token_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/callout/providertest"
	"fleet.nationtech.io/callout/refusal"
	"fleet.nationtech.io/callout/token"
)

// introspecting gives a verifier of opaque tokens, and its clock.
func introspecting(t *testing.T, c token.Credentials) (*providertest.Provider, *token.Verifier, *time.Duration) {
	t.Helper()
	p := providertest.Start(t)
	source, err := token.NewProvider(token.ProviderOptions{Issuer: p.Issuer(), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	later, began := new(time.Duration), time.Now()
	now := func() time.Time { return began.Add(*later) }
	v, err := token.NewVerifier(token.Options{
		Issuer: p.Issuer(), Project: providertest.Project, Now: now, Keys: token.NewKeys(token.KeysOptions{Source: source}),
		Introspector: token.NewIntrospector(token.IntrospectorOptions{Provider: source, Credentials: c, Now: now}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, v, later
}

func TestAnOpaqueTokenIsJudgedByTheProvider(t *testing.T) {
	t.Parallel()
	key, err := token.ReadApplicationKey(providertest.ApplicationKeyFile(t))
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := token.ReadApplicationKey(providertest.WrongApplicationKeyFile(t))
	if err != nil {
		t.Fatal(err)
	}
	secret := token.Secret{ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret}
	tests := map[string]struct {
		credentials token.Credentials
		change      func(*providertest.Draft)
		unknown     bool
		fault       providertest.Fault
		want        refusal.Reason
	}{
		"active, asked with a key file":                               {credentials: key},
		"active, asked with a secret that has to be encoded":          {credentials: secret},
		"unknown to the provider":                                     {credentials: key, unknown: true, want: refusal.Inactive},
		"the callout's own key is not accepted":                       {credentials: wrong, want: refusal.ProviderRefusesUs},
		"the callout's own secret is not accepted":                    {credentials: token.Secret{ClientID: "x", ClientSecret: "y"}, want: refusal.ProviderRefusesUs},
		"the provider is down":                                        {credentials: key, fault: providertest.Down, want: refusal.ProviderUnavailable},
		"the provider hangs":                                          {credentials: key, fault: providertest.Hanging, want: refusal.ProviderUnavailable},
		"the provider answers with a page":                            {credentials: key, fault: providertest.NoJSON, want: refusal.ProviderUnavailable},
		"the provider's answer has no end":                            {credentials: key, fault: providertest.Huge, want: refusal.ProviderUnavailable},
		"active for another project":                                  {credentials: key, change: func(d *providertest.Draft) { d.With("aud", []string{"9999"}) }, want: refusal.WrongAudience},
		"active, and expired by its own word":                         {credentials: key, change: func(d *providertest.Draft) { d.With("exp", 1000) }, want: refusal.Expired},
		"active, and of another issuer":                               {credentials: key, change: func(d *providertest.Draft) { d.With("iss", "https://a") }, want: refusal.WrongIssuer},
		"active, and without a subject":                               {credentials: key, change: func(d *providertest.Draft) { d.With("sub", nil) }, want: refusal.SubjectMissing},
		"active, and never expires (a personal access token may not)": {credentials: key, change: func(d *providertest.Draft) { d.With("exp", nil) }, want: refusal.ExpiryMissing},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, v, _ := introspecting(t, tt.credentials)
			d := p.Device("pi-01")
			if tt.change != nil {
				tt.change(d)
			}
			opaque := p.Opaque(d.Claims)
			if tt.unknown {
				opaque = "unknown"
			}
			if _, err := v.Verify(opaque); !errors.Is(err, token.ErrNeedsProvider) {
				t.Fatalf("before the provider was asked: %v", err)
			}
			p.Break(tt.fault)
			c, err := v.Resolve(t.Context(), opaque)
			if tt.want == "" {
				if err != nil || c.Subject != "pi-01" {
					t.Errorf("claims %+v, error %v", c, err)
				}
				return
			}
			if !refusal.Is(err, tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func TestAnswersOfIntrospectionAreKeptForAShortTime(t *testing.T) {
	t.Parallel()
	p, v, later := introspecting(t, token.Secret{ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret})
	opaque := p.Opaque(p.Device("pi-01").Claims)
	judge := func(tok string) error {
		_, err := v.Verify(tok)
		if errors.Is(err, token.ErrNeedsProvider) {
			_, err = v.Resolve(t.Context(), tok)
		}
		return err
	}
	for range 10 {
		if err := judge(opaque); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.Introspections(); n != 1 {
		t.Errorf("an active token: %d questions, want 1", n)
	}
	p.Revoke(opaque)
	*later = 29 * time.Second
	if err := judge(opaque); err != nil {
		t.Errorf("within 30 s: %v", err)
	}
	*later = 31 * time.Second
	if err := judge(opaque); !refusal.Is(err, refusal.Inactive) {
		t.Errorf("after 30 s: %v", err)
	}
	for range 10 {
		_ = judge(opaque) // inactive
	}
	if n := p.Introspections(); n != 2 {
		t.Errorf("an inactive token: %d questions, want 2", n)
	}
	*later += 6 * time.Second
	_ = judge(opaque)
	if n := p.Introspections(); n != 3 {
		t.Errorf("an inactive token after 5 s: %d questions, want 3", n)
	}
}

func TestAKeyFileThatCannotIntrospectIsRefusedWithASentence(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ file, says string }{
		"a machine user's key file": {`{"type":"serviceaccount","keyId":"1","key":"","userId":"2"}`, "the key of an API application"},
		"no JSON":                   {`hello`, "not what Zitadel exports"},
		"no key id":                 {`{"type":"application","clientId":"2"}`, "no keyId"},
		"no key":                    {`{"type":"application","clientId":"2","keyId":"1","key":"x"}`, "no RSA private key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := token.ReadApplicationKey([]byte(tt.file)); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want one with %q", err, tt.says)
			}
		})
	}
}
