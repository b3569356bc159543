package setup

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/deploy/zitadel"
)

// full is a provider where all is there.
func full(w Wanted, now time.Time) Found {
	f := Found{
		DeviceOrganization: "3000", PeopleOrganization: "1000",
		Project:      zitadel.Project{ID: "3012", RoleAssertion: true, Roles: []string{"extra"}},
		Account:      zitadel.User{ID: "7", Standing: zitadel.Ours, State: zitadel.Active, JWT: true},
		Administers:  []string{"ORG_OWNER_VIEWER", zitadel.UserManager},
		CalloutKey:   KeyFile{Name: calloutFile, ID: "k1", Stands: true, Expires: now.Add(365 * 24 * time.Hour)},
		AccountKey:   KeyFile{Name: accountFile, ID: "k2", Stands: true},
		Applications: []zitadel.Application{{ID: "99", Name: "extra", OIDC: &zitadel.OIDC{}}},
	}
	for _, r := range roles() {
		f.Project.Roles = append(f.Project.Roles, r.key)
	}
	for i, a := range w.applications() {
		a.ID, a.ClientID = string(rune('a'+i)), string(rune('A'+i))
		f.Applications = append(f.Applications, a)
	}
	return f
}

func TestThePlanNamesWhatIsMissingAndWhatDiffers(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	w := Wanted{DeviceOrganization: "fleet-devices", Project: "fleet", DashboardURL: "https://fleet.example.org", KeyLife: DefaultKeyLife}
	for name, tt := range map[string]struct {
		change func(*Found)
		want   []Step // those that do something
	}{
		"all is there, beside what nobody knows": {func(*Found) {}, nil},
		"no organization":                        {func(f *Found) { f.DeviceOrganization = "" }, []Step{{Kind: Organization, Name: "fleet-devices", Action: Make}}},
		"no role assertion": {func(f *Found) { f.Project.RoleAssertion = false }, []Step{
			{Kind: Project, Name: "fleet", Action: Change, ID: "3012", Why: "it did not put roles into tokens"},
		}},
		"the order of a list": {func(f *Found) {
			o := *f.Applications[2].OIDC
			o.Grants = []string{o.Grants[1], o.Grants[0]}
			f.Applications[2].OIDC = &o
		}, nil},
		"another grant": {func(f *Found) {
			o := *f.Applications[2].OIDC
			o.Grants = o.Grants[:1]
			f.Applications[2].OIDC = &o
		}, []Step{{Kind: Application, Name: "fleetctl", Action: Change, ID: "b", Why: "its configuration differed"}}},
		"a dashboard that has a secret": {func(f *Found) {
			o := *f.Applications[3].OIDC
			o.Auth = zitadel.AuthBasic
			f.Applications[3].OIDC = &o
		}, nil},
		"a dashboard that is elsewhere, too": {func(f *Found) {
			o := *f.Applications[3].OIDC
			o.RedirectURIs = append(slices.Clone(o.RedirectURIs), "https://old.example.org/auth/callback")
			f.Applications[3].OIDC = &o
		}, []Step{{Kind: Application, Name: "fleet-dashboard", Action: Change, ID: "c", Why: "its configuration differed; these redirect URIs go: https://old.example.org/auth/callback"}}},
		"the account without its role": {func(f *Found) { f.Administers = f.Administers[:1] }, []Step{{Kind: Administrator, Name: "fleet-enrolment", Action: Make}}},
		"a locked account": {func(f *Found) { f.Account.State = zitadel.Locked }, []Step{
			{Kind: Account, Name: "fleet-enrolment", Action: Change, ID: "7", Why: "it was not active"},
		}},
		"a key that the provider does not know": {func(f *Found) { f.AccountKey.Stands = false }, []Step{
			{Kind: AccountKey, Name: accountFile, Action: Make, Why: "the provider did not know key k2"},
		}},
		"a key 31 days before its end": {func(f *Found) { f.CalloutKey.Expires = now.Add(31 * 24 * time.Hour) }, nil},
		"a key 30 days before its end": {func(f *Found) { f.CalloutKey.Expires = now.Add(30 * 24 * time.Hour) }, []Step{
			{Kind: ApplicationKey, Name: calloutFile, Action: Make, Why: "key k1 ends at 2027-02-14T08:00:00Z"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := full(w, now)
			tt.change(&f)
			var got []Step
			for _, s := range Plan(w, f, now) {
				if s.Action != Keep {
					got = append(got, s)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// What is done to one object is independent of the others, so that each that is
// missing comes back whatever else is.
func TestThePlanOfWhatIsMissingIsThatOfEachAlone(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	w := Wanted{DeviceOrganization: "fleet-devices", Project: "fleet", KeyLife: DefaultKeyLife}
	breaks := map[Kind]func(*Found){
		Organization: func(f *Found) { f.DeviceOrganization = "" }, Project: func(f *Found) { f.Project.RoleAssertion = false },
		Role: func(f *Found) { f.Project.Roles = nil }, Application: func(f *Found) { f.Applications = nil },
		Account: func(f *Found) { f.Account.JWT = false }, Administrator: func(f *Found) { f.Administers = nil },
		ApplicationKey: func(f *Found) { f.CalloutKey = KeyFile{} }, AccountKey: func(f *Found) { f.AccountKey.Stands = false },
	}
	rapid.Check(t, func(t *rapid.T) {
		f := full(w, now)
		broken := map[Kind]bool{}
		for kind, spoil := range breaks {
			if broken[kind] = rapid.Bool().Draw(t, string(kind)); broken[kind] {
				spoil(&f)
			}
		}
		steps := Plan(w, f, now)
		for _, s := range steps {
			if (s.Action != Keep) != broken[s.Kind] {
				t.Fatalf("%s %s is %s, and broken is %t", s.Kind, s.Name, s.Action, broken[s.Kind])
			}
		}
	})
}

func TestWhatIsWrongWithWhatIsWantedIsSaid(t *testing.T) {
	t.Parallel()
	right := Wanted{DeviceOrganization: "d", Project: "p", KeyLife: DefaultKeyLife}
	for name, change := range map[string]func(*Wanted){
		"no name":                             func(w *Wanted) { w.Project = "" },
		"one organization for all":            func(w *Wanted) { w.PeopleOrganization = "d" },
		"a key of an hour":                    func(w *Wanted) { w.KeyLife = time.Hour },
		"an address without a scheme":         func(w *Wanted) { w.DashboardURL = "fleet.example.org" },
		"an address with a query":             func(w *Wanted) { w.DashboardURL = "https://fleet.example.org/?x=1" },
		"an address with a path":              func(w *Wanted) { w.DashboardURL = "https://fleet.example.org/fleet" },
		"an address with a password":          func(w *Wanted) { w.DashboardURL = "https://me:geheim@fleet.example.org" },
		"an address in clear":                 func(w *Wanted) { w.DashboardURL = "http://fleet.example.org" },
		"an address of another kind of thing": func(w *Wanted) { w.DashboardURL = "nats://fleet.example.org" },
	} {
		w := right
		change(&w)
		if w.Check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, address := range []string{"https://fleet.example.org", "https://fleet.example.org:8443/", "http://localhost:18080", "http://127.0.0.1:18080", "http://[::1]:18080/"} {
		w := right
		if w.DashboardURL = address; w.Check() != nil {
			t.Errorf("%s: %v", address, w.Check())
		}
	}
	if err := right.Check(); err != nil {
		t.Error(err)
	}
}
