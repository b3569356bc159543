package status_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/status"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/fleet"
)

func TestAKeyThatEndsIsACondition(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, tc := range map[string]struct {
		ends   time.Time
		reason string // empty: there is no condition
		says   string
		turns  time.Duration
	}{
		"the device does not say":   {time.Time{}, "", "", 0},
		"two years ahead":           {now.Add(730 * day), "", "", 700 * day},
		"a moment before 30 days":   {now.Add(30*day + time.Second), "", "", time.Second},
		"30 days ahead":             {now.Add(30 * day), attention.ReasonExpiresSoon, "fleetctl enroll rotate pi-01", 30 * day},
		"a second ahead":            {now.Add(time.Second), attention.ReasonExpiresSoon, "ends at 2026-11-24T14:03:01Z", time.Second},
		"now":                       {now, attention.ReasonExpired, "ended at 2026-11-24T14:03:00Z", 0},
		"a year ago":                {now.AddDate(-1, 0, 0), attention.ReasonExpired, "enrol it again", 0},
		"in a time zone of its own": {now.Add(time.Second).In(time.FixedZone("", 3600)), attention.ReasonExpiresSoon, "ends at 2026-11-24T14:03:01Z", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dev := &fleet.Device{ID: "pi-01", Info: &eventlog.DeviceInfo{DeviceID: "pi-01", KeyExpires: tc.ends}}
			s := status.Device(status.Devices{Log: dev}, now)
			c := meta.FindStatusCondition(s.Conditions, status.ConditionKeyExpiring)
			switch {
			case tc.reason == "" && c != nil:
				t.Errorf("condition %+v", c)
			case tc.reason == "":
			case c == nil || c.Status != "True" || c.Reason != tc.reason || !strings.Contains(c.Message, tc.says):
				t.Errorf("condition %+v, want reason %s and %q", c, tc.reason, tc.says)
			}
			if turns := status.KeyTurns(tc.ends, now); turns != tc.turns {
				t.Errorf("it turns in %s, want %s", turns, tc.turns)
			}
			dev.Info.KeyExpires = now.Add(730 * day) // it got a new one
			s = status.Device(status.Devices{Log: dev, Previous: s}, now)
			if c := meta.FindStatusCondition(s.Conditions, status.ConditionKeyExpiring); c != nil {
				t.Errorf("with a new key: %+v", c)
			}
		})
	}
}

// A shell that looks again each time after KeyTurns sees each reason in turn, and ends.
func TestAShellThatLooksAgainWhenTheKeyTurnsSeesEachReason(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		expires := now.Add(time.Duration(rapid.Int64Range(int64(-100*24*time.Hour), int64(800*24*time.Hour)).Draw(t, "life")))
		want := []string{"", attention.ReasonExpiresSoon, attention.ReasonExpired}
		reason := attention.KeyReason(expires, now)
		for want[0] != reason {
			want = want[1:]
		}
		at := now
		for turn := status.KeyTurns(expires, at); turn > 0; turn = status.KeyTurns(expires, at) {
			if r := attention.KeyReason(expires, at.Add(turn-1)); r != want[0] {
				t.Fatalf("just before it turns it is %q, want %q", r, want[0])
			}
			at, want = at.Add(turn), want[1:]
			if r := attention.KeyReason(expires, at); len(want) == 0 || r != want[0] {
				t.Fatalf("it turned into %q, want %q", r, want)
			}
		}
		if len(want) != 1 {
			t.Fatalf("%q never came", want[1:])
		}
	})
}
