package callout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/callout"
)

func TestPermissionsAreWhatTheContractLists(t *testing.T) {
	t.Parallel()
	answers := &callout.Responses{Max: -1, TTL: time.Hour}
	tests := map[string]struct {
		got, want callout.Permissions
	}{
		"a device speaks and hears for itself, and has no JetStream API": {
			got: callout.DevicePermissions("pi-01"),
			want: callout.Permissions{
				Publish: []string{
					"fleet.evt.state.pi-01.*", "fleet.evt.info.pi-01", "fleet.evt.agent.pi-01",
					"fleet.pulse.pi-01", "fleet.sync.pi-01",
				},
				Subscribe: []string{"fleet.live.desired.pi-01.*", "device-commands.pi-01.*", "_INBOX.pi-01.>"},
				Responses: answers,
			},
		},
		"the lab's shared user is any device": {
			got: callout.LabPermissions(),
			want: callout.Permissions{
				Publish: []string{
					"fleet.evt.state.*.*", "fleet.evt.info.*", "fleet.evt.agent.*", "fleet.pulse.*", "fleet.sync.*",
				},
				Subscribe: []string{"fleet.live.desired.*.*", "device-commands.*.*", "_INBOX.*.>"},
				Responses: answers,
			},
		},
		"an older agent uses the KV API for its own keys": {
			got: callout.LegacyPermissions("pi-01"),
			want: callout.Permissions{
				Publish: []string{
					"fleet.evt.state.pi-01.*", "fleet.evt.info.pi-01", "fleet.evt.agent.pi-01", "fleet.pulse.pi-01",
					"$JS.API.CONSUMER.CREATE.KV_desired-state.*.$KV.desired-state.pi-01.>",
					"$JS.API.CONSUMER.DELETE.KV_desired-state.*",
					"$JS.FC.KV_desired-state.>",
					"$JS.API.STREAM.INFO.KV_desired-state", "$JS.API.STREAM.INFO.KV_device-state",
					"$JS.API.STREAM.INFO.KV_device-info", "$JS.API.STREAM.INFO.KV_device-heartbeat",
					"$JS.API.DIRECT.GET.KV_desired-state.$KV.desired-state.pi-01.*",
					"$JS.API.DIRECT.GET.KV_device-state.$KV.device-state.state.pi-01.*",
					"$JS.API.DIRECT.GET.KV_device-info.$KV.device-info.info.pi-01",
					"$JS.API.DIRECT.GET.KV_device-heartbeat.$KV.device-heartbeat.heartbeat.pi-01",
				},
				Subscribe: []string{"_INBOX.>"},
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, tt.got); diff != "" {
				t.Errorf("permissions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNobodyButItsUserMakesARequestInAName(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]callout.Permissions{
		"a developer":             callout.DeveloperPermissions("alice"),
		"a device":                callout.DevicePermissions("alice"),
		"a lab's shared user":     callout.LabPermissions(),
		"an older agent's device": callout.LegacyPermissions("alice"),
		"a viewer":                callout.ViewerPermissions("alice"),
		"an operator":             callout.OperatorPermissions("alice"),
		"an admin":                callout.AdminPermissions("alice"),
	} {
		for _, s := range p.Publish {
			if s == ">" || s == "fleet.>" || s == "fleet.evt.>" ||
				strings.HasPrefix(s, "fleet.evt.request.") && !strings.HasPrefix(s, "fleet.evt.request.alice.") {
				t.Errorf("%s may publish %s, a request in another's name", name, s)
			}
		}
	}
}
