package fleetctl_test

import (
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

func TestWhyADeviceWhoseKeyEndedGetsNotIn(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	s := cli.Streams{Name: "fleetctl", Now: func() time.Time { return now }}
	for name, tc := range map[string]struct {
		ends         time.Time
		granted      time.Time // the newest login
		verdict, key string    // what they begin with
		do           string
	}{
		"the device reports no end":         {time.Time{}, now.Add(-day), "it was let in", "", "ping"},
		"the key holds":                     {now.Add(300 * day), now.Add(-day), "it was let in", "it ends at", "ping"},
		"the key ends soon":                 {now.Add(20 * day), now.Add(-day), "it was let in", "the device's key ends at 2026-12-18T12:00:00Z", "ping"},
		"the key ended after the login":     {now.Add(-time.Hour), now.Add(-day), "its key ended at", "the device's key ended at", "enrol it again"},
		"the key ended, and there is none":  {now.Add(-time.Hour), time.Time{}, "its key ended at", "the device's key ended at", "fleetctl enroll rotate --unproven pi-01"},
		"let in after the end that it told": {now.Add(-day), now.Add(-time.Hour), "it was let in", "the device's key ended at", "ping"},
	} {
		l := query.Logins{Standing: query.Standing{Device: &fleet.Device{ID: "pi-01", Registered: true, RegisteredAt: now, Info: &eventlog.DeviceInfo{DeviceID: "pi-01", KeyExpires: tc.ends}}}}
		if !tc.granted.IsZero() {
			l.Own = []query.Login{{Time: tc.granted, Granted: true, Auth: eventlog.Auth{Account: "DEVICES"}}}
		}
		r := fleetctl.ReportLogins(s, "pi-01", l)
		if !strings.HasPrefix(r.Verdict, tc.verdict) || !strings.HasPrefix(r.Key, tc.key) || (tc.key == "") != (r.Key == "") || !strings.Contains(r.Do, tc.do) {
			t.Errorf("%s: verdict %q, do %q, key %q", name, r.Verdict, r.Do, r.Key)
		}
	}
}
