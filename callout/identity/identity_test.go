package identity_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/callout/claims"
	"fleet.nationtech.io/callout/identity"
	"fleet.nationtech.io/callout/refusal"
)

const (
	devices = "3000"
	people  = "4000"
	other   = "6666"
)

func rules(t *testing.T, source string) identity.Rules {
	t.Helper()
	s, err := identity.ParseSource(source)
	if err != nil {
		t.Fatal(err)
	}
	return identity.Rules{
		DeviceOrganization: devices, DeviceRole: "device", Organizations: []string{people},
		Roles: []identity.Role{
			{Name: "viewer", Kind: identity.Person},
			{Name: "operator", Kind: identity.Person},
			{Name: "ci", Kind: identity.Service},
		},
		DeviceID: s,
	}
}

func TestWhoATokensBearerIs(t *testing.T) {
	t.Parallel()
	granted := func(organization string, roles ...string) map[string][]string {
		m := map[string][]string{}
		for _, r := range roles {
			m[r] = []string{organization}
		}
		return m
	}
	device := func(id string) identity.Identity { return identity.Identity{Kind: identity.Device, ID: id} }
	tests := map[string]struct {
		source string
		claims claims.Claims
		want   identity.Identity
		reason refusal.Reason
	}{
		"a machine user of the devices' organization is a device": {
			claims: claims.Claims{Subject: "pi-01", Organization: devices}, want: device("pi-01"),
		},
		"digits are a device's id": {
			claims: claims.Claims{Subject: "301234567890123455", Organization: devices}, want: device("301234567890123455"),
		},
		"role device, granted by the devices' organization, makes a device": {
			claims: claims.Claims{Subject: "pi-01", Organization: other, Roles: granted(devices, "device")}, want: device("pi-01"),
		},
		"role device, granted by another organization, does not": {
			claims: claims.Claims{Subject: "pi-01", Organization: other, Roles: granted(other, "device")}, reason: refusal.NoRole,
		},
		"role device, granted by the people's organization, does not": {
			claims: claims.Claims{Subject: "pi-01", Organization: people, Roles: granted(people, "device")}, reason: refusal.NoRole,
		},
		"another organization's machine user with a device's id is nobody": {
			claims: claims.Claims{Subject: "pi-01", Organization: other}, reason: refusal.NoRole,
		},
		"a token that names no organization is nobody's": {
			claims: claims.Claims{Subject: "pi-01"}, reason: refusal.NoRole,
		},
		"a person without a role is nobody": {
			claims: claims.Claims{Subject: "301234567890123455", Organization: people}, reason: refusal.NoRole,
		},
		"a person's digits never make a device": {
			claims: claims.Claims{Subject: "301234567890123455", Organization: people, Name: "Ada", Roles: granted(people, "viewer")},
			want:   identity.Identity{Kind: identity.Person, ID: "301234567890123455", Roles: []string{"viewer"}, Label: "Ada"},
		},
		"a person has all roles that count": {
			claims: claims.Claims{Subject: "1", Organization: people, Roles: granted(people, "viewer", "operator", "cook")},
			want:   identity.Identity{Kind: identity.Person, ID: "1", Roles: []string{"operator", "viewer"}},
		},
		"a role that another organization granted does not count": {
			claims: claims.Claims{Subject: "1", Organization: people, Roles: granted(other, "operator")}, reason: refusal.NoRole,
		},
		"a service has a role of services": {
			claims: claims.Claims{Subject: "ci", Organization: people, Roles: granted(people, "ci")},
			want:   identity.Identity{Kind: identity.Service, ID: "ci", Roles: []string{"ci"}},
		},
		"a device with a person's role is refused": {
			claims: claims.Claims{Subject: "pi-01", Organization: devices, Roles: granted(people, "viewer")}, reason: refusal.TwoKinds,
		},
		"a person with the device role is refused": {
			claims: claims.Claims{Subject: "1", Organization: people, Roles: map[string][]string{"viewer": {people}, "device": {devices}}}, reason: refusal.TwoKinds,
		},
		"a person who is a service is refused": {
			claims: claims.Claims{Subject: "1", Organization: people, Roles: granted(people, "viewer", "ci")}, reason: refusal.TwoKinds,
		},
		"a person's subject with a dot is refused": {
			claims: claims.Claims{Subject: "a.b", Organization: people, Roles: granted(people, "viewer")}, reason: refusal.BadName,
		},
		"a person's subject with a wildcard is refused": {
			claims: claims.Claims{Subject: "*", Organization: people, Roles: granted(people, "viewer")}, reason: refusal.BadName,
		},
		"a device id with a dot is refused": {
			claims: claims.Claims{Subject: "pi-01.x", Organization: devices}, reason: refusal.BadName,
		},
		"a device id with a wildcard is refused": {
			claims: claims.Claims{Subject: ">", Organization: devices}, reason: refusal.BadName,
		},
		"a device id in capitals is refused": {
			claims: claims.Claims{Subject: "PI-01", Organization: devices}, reason: refusal.BadName,
		},
		"a device id of 64 letters is refused": {
			claims: claims.Claims{Subject: strings.Repeat("a", 64), Organization: devices}, reason: refusal.BadName,
		},
		"a device id that begins as the family of persons does is refused": {
			claims: claims.Claims{Subject: "_person-1", Organization: devices}, reason: refusal.BadName,
		},
		"the claim is the source": {
			source: "device_id", claims: claims.Claims{Subject: "301", Organization: devices, DeviceID: "pi-01"}, want: device("pi-01"),
		},
		"the claim is the source and is missing: no other place counts": {
			source: "device_id", claims: claims.Claims{Subject: "pi-01", Organization: devices, Metadata: map[string]string{"device_id": "pi-01"}}, reason: refusal.DeviceIDMissing,
		},
		"metadata is the source": {
			source: "metadata:device_id", claims: claims.Claims{Subject: "301", Organization: devices, Metadata: map[string]string{"device_id": "pi-01"}}, want: device("pi-01"),
		},
		"metadata of another key is the source": {
			source: "metadata:serial", claims: claims.Claims{Subject: "301", Organization: devices, Metadata: map[string]string{"serial": "pi-01"}}, want: device("pi-01"),
		},
		"the user name is the source": {
			source: `username:fleet-(.+)@acme\.example\.com`, claims: claims.Claims{Subject: "301", Organization: devices, ClientID: "fleet-pi-01@acme.example.com"}, want: device("pi-01"),
		},
		"introspection's user name is the source": {
			source: `username:fleet-(.+)`, claims: claims.Claims{Subject: "301", Organization: devices, Username: "fleet-pi-01", ClientID: "fleet-x"}, want: device("pi-01"),
		},
		"a user name that only contains the pattern does not match": {
			source: `username:fleet-(.+)`, claims: claims.Claims{Subject: "301", Organization: devices, ClientID: "my-fleet-pi-01"}, reason: refusal.DeviceIDMissing,
		},
		"sub is the source, and the claim names another device": {
			claims: claims.Claims{Subject: "pi-01", Organization: devices, DeviceID: "pi-02"}, reason: refusal.DeviceIDsDisagree,
		},
		"sub is the source, and metadata names another device": {
			claims: claims.Claims{Subject: "pi-01", Organization: devices, Metadata: map[string]string{"device_id": "pi-02"}}, reason: refusal.DeviceIDsDisagree,
		},
		"the claim is the source, and metadata names another device": {
			source: "device_id", claims: claims.Claims{Subject: "301", Organization: devices, DeviceID: "pi-01", Metadata: map[string]string{"device_id": "pi-02"}}, reason: refusal.DeviceIDsDisagree,
		},
		"all places agree": {
			claims: claims.Claims{Subject: "pi-01", Organization: devices, DeviceID: "pi-01", Metadata: map[string]string{"device_id": "pi-01"}}, want: device("pi-01"),
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := rules(t, tt.source).Of(tt.claims)
			if tt.reason != "" {
				if !refusal.Is(err, tt.reason) {
					t.Errorf("identity %+v, error %v, want %s", got, err, tt.reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("identity (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRulesWithoutADevicesOrganizationKnowNoDevice(t *testing.T) {
	t.Parallel()
	r := identity.Rules{DeviceRole: "device"}
	for _, c := range []claims.Claims{{Subject: "pi-01"}, {Subject: "pi-01", Roles: map[string][]string{"device": {""}}}} {
		if i, err := r.Of(c); !refusal.Is(err, refusal.NoRole) {
			t.Errorf("identity %+v, error %v", i, err)
		}
	}
}

// Whatever a token says, its bearer becomes a device only by the devices'
// organization, and is never a device and somebody else at once.
func TestNobodyBecomesADeviceByAWeakerClaim(t *testing.T) {
	t.Parallel()
	organizations := rapid.SampledFrom([]string{"", devices, people, other})
	names := rapid.SampledFrom([]string{"", "pi-01", "pi-02", "301", "a.b", "*"})
	rapid.Check(t, func(rt *rapid.T) {
		c := claims.Claims{
			Subject: names.Draw(rt, "sub"), ClientID: names.Draw(rt, "client"), DeviceID: names.Draw(rt, "claim"),
			Organization: organizations.Draw(rt, "owner"),
			Metadata:     map[string]string{"device_id": names.Draw(rt, "metadata")},
			Roles:        map[string][]string{},
		}
		for _, role := range []string{"device", "viewer", "operator", "ci", "admin"} {
			if o := organizations.Draw(rt, "granted by"); o != "" {
				c.Roles[role] = []string{o}
			}
		}
		source := rapid.SampledFrom([]string{"sub", "device_id", "metadata:device_id", "username:(.+)"}).Draw(rt, "source")
		i, err := rules(t, source).Of(c)
		if err != nil {
			if i.Kind != "" {
				rt.Fatalf("identity %+v beside the error %v", i, err)
			}
			return
		}
		device := c.Organization == devices || len(c.Roles["device"]) == 1 && c.Roles["device"][0] == devices
		if (i.Kind == identity.Device) != device {
			rt.Fatalf("%+v is a %s", c, i.Kind)
		}
		if strings.ContainsAny(i.Actor()+i.Subject(), ".*> ") || i.Actor() == "" {
			rt.Fatalf("actor %q, subject %q", i.Actor(), i.Subject())
		}
		if i.Kind != identity.Device && !strings.HasPrefix(i.Subject(), "_") {
			rt.Fatalf("a %s has the subject %q, which a device could have", i.Kind, i.Subject())
		}
	})
}

func TestADeviceIDSourceIsReadAndWritten(t *testing.T) {
	t.Parallel()
	for s, says := range map[string]string{
		"sub": "", "device_id": "", "metadata:serial": "", "username:fleet-(.+)": "",
		"metadata:": "must be sub", "email": "must be sub", "username:fleet-.+": "needs one group", "username:(": "missing closing",
	} {
		t.Run(s, func(t *testing.T) {
			t.Parallel()
			source, err := identity.ParseSource(s)
			if says != "" {
				if err == nil || !strings.Contains(err.Error(), says) {
					t.Errorf("error %v, want one with %q", err, says)
				}
				return
			}
			if err != nil || source.String() != s {
				t.Errorf("source %q, error %v", source, err)
			}
		})
	}
}
