package callout_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/callout/identity"
	"fleet.nationtech.io/callout/refusal"
)

var rights = map[string]callout.Right{
	"viewer":   {Level: callout.Viewer},
	"operator": {Level: callout.Operator},
	"shop":     {Level: callout.Operator, Namespaces: []string{"shop"}},
	"bar":      {Level: callout.Operator, Namespaces: []string{"bar", "shop"}},
	"admin":    {Level: callout.Admin},
}

var reads = []string{
	"$SYS.REQ.USER.INFO", "fleet.api.STREAM.INFO.*",
	"fleet.api.STREAM.MSG.GET.FLEET", "$JS.API.DIRECT.GET.FLEET", "$JS.API.DIRECT.GET.FLEET.>",
	"fleet.api.STREAM.MSG.GET.PULSE", "$JS.API.DIRECT.GET.PULSE", "$JS.API.DIRECT.GET.PULSE.>",
	"fleet.api.STREAM.MSG.GET.KV_desired-state", "$JS.API.DIRECT.GET.KV_desired-state", "$JS.API.DIRECT.GET.KV_desired-state.>",
	"fleet.api.STREAM.MSG.GET.KV_device-state", "$JS.API.DIRECT.GET.KV_device-state", "$JS.API.DIRECT.GET.KV_device-state.>",
	"fleet.api.STREAM.MSG.GET.KV_device-info", "$JS.API.DIRECT.GET.KV_device-info", "$JS.API.DIRECT.GET.KV_device-info.>",
	"fleet.api.STREAM.MSG.GET.KV_device-heartbeat", "$JS.API.DIRECT.GET.KV_device-heartbeat", "$JS.API.DIRECT.GET.KV_device-heartbeat.>",
	"fleet.api.STREAM.MSG.GET.OBJ_fleet-checkpoints", "$JS.API.DIRECT.GET.OBJ_fleet-checkpoints", "$JS.API.DIRECT.GET.OBJ_fleet-checkpoints.>",
}

func TestWhatEachKindIsGranted(t *testing.T) {
	t.Parallel()
	exp := time.Unix(1800000000, 0)
	person := func(roles ...string) identity.Identity {
		return identity.Identity{Kind: identity.Person, ID: "17", Roles: roles}
	}
	tests := map[string]struct {
		who       identity.Identity
		account   string
		publish   []string
		subscribe []string
		reason    refusal.Reason
	}{
		"a device": {
			who: identity.Identity{Kind: identity.Device, ID: "pi-01"}, account: "DEVICES",
			publish:   []string{"fleet.evt.state.pi-01.*", "fleet.evt.info.pi-01", "fleet.evt.agent.pi-01", "fleet.pulse.pi-01", "fleet.sync.pi-01"},
			subscribe: []string{"fleet.live.desired.pi-01.*", "device-commands.pi-01.*", "_INBOX.pi-01.>"},
		},
		"a viewer": {
			who: person("viewer"), account: "PEOPLE", publish: reads, subscribe: []string{"fleet.evt.>", "_INBOX.person-17.>"},
		},
		"an operator": {
			who: person("operator", "viewer"), account: "PEOPLE",
			publish:   append(slices.Clone(reads), "fleet.evt.request.person-17.*.*", "fleet.evt.request.person-17.*", "fleet.sync.*", "device-commands.*.ping", "device-commands.*.sync", "device-commands.*.logs", "device-commands.*.exec"),
			subscribe: []string{"fleet.evt.>", "_INBOX.person-17.>"},
		},
		"an operator of two namespaces commands no device": {
			who: person("bar", "shop", "viewer"), account: "PEOPLE",
			publish:   append(slices.Clone(reads), "fleet.evt.request.person-17.bar.*", "fleet.evt.request.person-17.shop.*"),
			subscribe: []string{"fleet.evt.>", "_INBOX.person-17.>"},
		},
		"an operator of one namespace and of all is one of all": {
			who: person("operator", "shop"), account: "PEOPLE",
			publish:   append(slices.Clone(reads), "fleet.evt.request.person-17.*.*", "fleet.evt.request.person-17.*", "fleet.sync.*", "device-commands.*.ping", "device-commands.*.sync", "device-commands.*.logs", "device-commands.*.exec"),
			subscribe: []string{"fleet.evt.>", "_INBOX.person-17.>"},
		},
		"a service that is an operator": {
			who: identity.Identity{Kind: identity.Service, ID: "ci", Roles: []string{"operator"}}, account: "PEOPLE",
			publish:   append(slices.Clone(reads), "fleet.evt.request.service-ci.*.*", "fleet.evt.request.service-ci.*", "fleet.sync.*", "device-commands.*.ping", "device-commands.*.sync", "device-commands.*.logs", "device-commands.*.exec"),
			subscribe: []string{"fleet.evt.>", "_INBOX.service-ci.>"},
		},
		"an admin lives in FLEET, and writes no event of access": {
			who: person("admin", "viewer"), account: "FLEET",
			publish:   []string{"$SYS.REQ.USER.INFO", "$JS.>", "$KV.>", "fleet.evt.request.person-17.*.*", "fleet.evt.request.person-17.*", "device-commands.*.*", "fleet.sync.*"},
			subscribe: []string{">"},
		},
		"a role without a right":   {who: person("cook"), reason: refusal.AccountNotAllowed},
		"no role":                  {who: person(), reason: refusal.AccountNotAllowed},
		"the identity of nobody":   {reason: refusal.AccountNotAllowed},
		"a kind that nobody knows": {who: identity.Identity{Kind: "robot", ID: "1", Roles: []string{"admin"}}, reason: refusal.AccountNotAllowed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, err := callout.NewGrant(tt.who, rights, exp)
			if tt.reason != "" {
				if !refusal.Is(err, tt.reason) {
					t.Errorf("grant %+v, error %v, want %s", g, err, tt.reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if g.Account != tt.account || g.Actor != tt.who.Actor() || !g.Expires.Equal(exp) || !slices.Equal(g.ConnectionTypes, []string{"STANDARD", "WEBSOCKET"}) {
				t.Errorf("grant %+v", g)
			}
			if diff := cmp.Diff(tt.publish, g.Permissions.Publish); diff != "" {
				t.Errorf("publish (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.subscribe, g.Permissions.Subscribe); diff != "" {
				t.Errorf("subscribe (-want +got):\n%s", diff)
			}
		})
	}
}

func TestADigestChangesWithWhatIsGrantedAlone(t *testing.T) {
	t.Parallel()
	grant := func(roles ...string) callout.Grant {
		g, err := callout.NewGrant(identity.Identity{Kind: identity.Person, ID: "17", Roles: roles}, rights, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	viewer := grant("viewer").Digest("k1", []string{"viewer"})
	later := grant("viewer")
	later.Expires = later.Expires.Add(time.Hour)
	if later.Digest("k1", []string{"viewer"}) != viewer {
		t.Error("a later expiry changes the digest")
	}
	for what, d := range map[string]string{
		"another key":     grant("viewer").Digest("k2", []string{"viewer"}),
		"another role":    grant("viewer").Digest("k1", []string{"viewer", "cook"}),
		"another level":   grant("operator").Digest("k1", []string{"viewer"}),
		"another account": grant("admin").Digest("k1", []string{"viewer"}),
	} {
		if d == viewer || !strings.HasPrefix(d, "sha256:") {
			t.Errorf("%s: digest %s, before %s", what, d, viewer)
		}
	}
}
