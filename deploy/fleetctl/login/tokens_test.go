package login

import (
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
)

func token(t *testing.T, claims jwt.MapClaims) Tokens {
	t.Helper()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte("any"))
	if err != nil {
		t.Fatal(err)
	}
	return Tokens{Access: signed, Project: project}
}

func roles(names ...string) map[string]any {
	all := map[string]any{}
	for _, n := range names {
		all[n] = map[string]any{organization: "example.org"}
	}
	return all
}

func TestAToken(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	later := now.Add(time.Hour).Unix()
	const ofProject, ofCurrent = "urn:zitadel:iam:org:project:" + project + ":roles", "urn:zitadel:iam:org:project:roles"
	for name, tt := range map[string]struct {
		claims jwt.MapClaims
		actors []string
		says   string // a part of the one reason to refuse it; empty: none
	}{
		"of a person":                     {jwt.MapClaims{"sub": "7", "aud": []string{project}, "exp": later, ofProject: roles("viewer")}, []string{"person-7", "service-7"}, ""},
		"of a person, by the application": {jwt.MapClaims{"sub": "7", "aud": project, "exp": later, ofCurrent: roles("viewer")}, []string{"person-7", "service-7"}, ""},
		"of a service":                    {jwt.MapClaims{"sub": "ci", "aud": project, "exp": later, ofProject: roles("service-viewer")}, []string{"service-ci", "person-ci"}, ""},
		"of a device":                     {jwt.MapClaims{"sub": "pi-01", "aud": project, "exp": later, ofProject: roles("device")}, []string{"device-pi-01", "person-pi-01", "service-pi-01"}, ""},
		"without a role":                  {jwt.MapClaims{"sub": "7", "aud": project, "exp": later}, []string{"device-7", "person-7", "service-7"}, "no role of project 3012"},
		"with another project's role":     {jwt.MapClaims{"sub": "7", "aud": project, "exp": later, "urn:zitadel:iam:org:project:9:roles": roles("admin")}, []string{"device-7", "person-7", "service-7"}, "no role of project 3012"},
		"of another project":              {jwt.MapClaims{"sub": "7", "aud": []string{"9"}, "exp": later, ofProject: roles("viewer")}, []string{"person-7", "service-7"}, "not for project 3012"},
		"that ended":                      {jwt.MapClaims{"sub": "7", "aud": project, "exp": now.Unix(), ofProject: roles("viewer")}, []string{"person-7", "service-7"}, "ended at"},
		"that is too long":                {jwt.MapClaims{"sub": "7", "aud": project, "exp": later, ofProject: roles("viewer"), "x": strings.Repeat("x", eventlog.MaxTokenBytes)}, []string{"person-7", "service-7"}, "NATS takes 3500"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			held := token(t, tt.claims)
			if diff := cmp.Diff(tt.actors, held.Actors()); diff != "" {
				t.Errorf("actors (-want +got):\n%s", diff)
			}
			why := held.WhyRefused(now)
			if (tt.says == "") != (len(why) == 0) || len(why) > 1 || len(why) == 1 && !strings.Contains(why[0], tt.says) {
				t.Errorf("it finds %q, want %q", why, tt.says)
			}
		})
	}
	if why := (Tokens{Access: "opaque"}).WhyRefused(now); len(why) != 1 || !strings.Contains(why[0], "opaque") {
		t.Errorf("an opaque one: %q", why)
	}
}

func TestATokenIsRenewedAtAFifthOfItsLifeOrFiveMinutesBeforeItsEnd(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1_800_000_000, 0)
	for life, want := range map[time.Duration]time.Duration{
		12 * time.Hour: 12*time.Hour - 5*time.Minute, time.Hour: 55 * time.Minute, 10 * time.Minute: 8 * time.Minute, 5 * time.Second: 4 * time.Second,
	} {
		held := Tokens{Access: "t", Issued: begin, Expires: begin.Add(life)}
		if got := held.renewAt().Sub(begin); got != want {
			t.Errorf("a life of %v: renewed after %v, want %v", life, got, want)
		}
		if held.fresh(begin.Add(want)) || !held.fresh(begin.Add(want-1)) || !held.holds(begin.Add(want)) || held.holds(begin.Add(life)) {
			t.Errorf("a life of %v: it is judged wrongly", life)
		}
	}
}
