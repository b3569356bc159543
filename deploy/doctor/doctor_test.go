package doctor_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/doctor"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/buckets"
	"fleet.nationtech.io/projections/fleet"
)

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// well are the facts of a fleet in which nothing is wrong.
func well() doctor.Facts {
	synced := true
	return doctor.Facts{
		At: now, Version: "v1.4.0", LeftOut: map[string]string{},
		Server:  &doctor.Server{URL: "tls://nats:4222", RoundTrip: time.Millisecond, User: "ada", Account: "PEOPLE", Members: 3, Timed: true, Timekeeper: "nats-0", Names: []string{"nats-0", "nats-1", "nats-2"}, Certificate: until(now.AddDate(0, 3, 0)), TokenEnds: now.Add(time.Hour)},
		Log:     &doctor.Log{ID: "L", Last: 90_000, Bytes: 10 << 20, MaxBytes: 1 << 30, Replicas: 3, Leader: true},
		Members: []doctor.Member{member("nats-0"), member("nats-1"), member("nats-2")},
		Growth:  &doctor.Growth{Bytes: 1 << 20, In: 24 * time.Hour},
		Buckets: []doctor.Bucket{
			{Bucket: attention.Bucket{Name: "desired-state", Finding: buckets.Sound}, Replicas: 3},
			{Bucket: attention.Bucket{Name: "device-state", Finding: buckets.Sound, Lacks: 90_000, Since: now.Add(-time.Second)}, Replicas: 3},
		},
		Operator:    &doctor.Operator{Fold: &attention.Fold{Sequence: 90_000}, Leader: "op-1", Version: "v1.4.2", Elected: now.Add(-time.Hour), Ahead: -20 * time.Second, Known: true},
		Pulses:      &doctor.Pulses{Heard: 9, Newest: now.Add(-3 * time.Second)},
		Devices:     &doctor.Devices{Known: 10, Online: 9, Agents: map[string]int{"v1.4.2": 8, "v1.3.0": 1, "dev": 1}},
		Seal:        &doctor.Seal{Sequence: 89_000, At: now.Add(-5 * time.Minute), Uncovered: 1000, Since: now.Add(-5 * time.Minute)},
		Checkpoints: &doctor.Checkpoints{Usable: 50_000},
		Kubernetes: &doctor.Kubernetes{
			Cluster: "prod", Defined: true, Installed: true, Surveyed: true, NotReady: map[string]string{}, Images: map[string]string{"deployment/fleet-operator": "v1.4.2"}, LeaseAge: 2 * time.Second, Synced: &synced,
			Certificates: map[string]attention.Certificate{"fleet-nats-tls": *until(now.AddDate(0, 3, 0))},
		},
	}
}

// until is a certificate of a year that ends then.
func until(end time.Time) *attention.Certificate {
	return &attention.Certificate{Begins: end.AddDate(-1, 0, 0), Ends: end}
}

// member is a NATS server in which nothing is wrong.
func member(name string) doctor.Member {
	streams := []doctor.Stream{{Name: "FLEET", Bytes: 10 << 20, MaxBytes: 1 << 30}, {Name: "PULSE", Bytes: 1 << 20, Memory: true}, {Name: "KV_desired-state", Bytes: 5 << 20}}
	return doctor.Member{Clock: doctor.Clock{Server: name}, Synced: true, Streams: streams, Room: doctor.Room{Used: 15 << 20, Limit: 45 << 30, Promised: doctor.Promised(streams)}}
}

func TestNothingIsFoundWhereNothingIsWrong(t *testing.T) {
	t.Parallel()
	found := doctor.Examine(well())
	var checks []string
	for _, f := range found {
		if checks = append(checks, f.Check); f.Status != doctor.OK || f.Message == "" || f.Remedy != "" {
			t.Errorf("%+v", f)
		}
	}
	if !slices.Equal(checks, doctor.Checks()) || !doctor.Healthy(found) {
		t.Errorf("these checks were made: %v", checks)
	}
}

func TestEachFaultIsFoundByItsCheckWithARemedy(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		breaks func(*doctor.Facts)
		check  string
		status doctor.Status
		says   string
	}{
		"the servers answer slowly":       {func(f *doctor.Facts) { f.Server.RoundTrip = 3 * time.Second }, "connection", doctor.Warning, "answers after 3.0s"},
		"the server answers no ping":      {func(f *doctor.Facts) { f.Server.RoundTrip = 0 }, "connection", doctor.Failed, "does not answer a ping"},
		"a certificate ends in two weeks": {func(f *doctor.Facts) { f.Server.Certificate = until(now.AddDate(0, 0, 14)) }, "connection", doctor.Warning, "ends in 14d00h"},
		"a certificate ends tomorrow":     {func(f *doctor.Facts) { f.Server.Certificate = until(now.AddDate(0, 0, 1)) }, "connection", doctor.Failed, "ends in 1d00h"},
		"a certificate has ended":         {func(f *doctor.Facts) { f.Server.Certificate = until(now.AddDate(0, 0, -1)) }, "connection", doctor.Failed, "ended at 2026-11-28"},
		"a device asks":                   {func(f *doctor.Facts) { f.Server.Account = "DEVICES" }, "account", doctor.Failed, "reads no log"},
		"the servers have no accounts":    {func(f *doctor.Facts) { f.Server.Account = "$G" }, "account", doctor.Warning, "any client that connects may do all"},
		"a user of another account asks":  {func(f *doctor.Facts) { f.Server.Account = "SHOP" }, "account", doctor.Warning, "in account SHOP, which is none of a fleet"},
		"events are missing":              {func(f *doctor.Facts) { f.Log.Missing = "1 of its messages are missing" }, "log", doctor.Failed, "the log is not whole: 1 of its"},
		"there is no stream of pulses":    {func(f *doctor.Facts) { f.Pulses = &doctor.Pulses{Faults: []string{"it is not there"}} }, "pulses", doctor.Failed, "as it should be: it is not there"},
		"a bucket is gone, and another cannot be asked": {func(f *doctor.Facts) {
			f.Buckets[0].Finding, f.BucketsUnread = buckets.Missing, []string{"bucket device-info: no answer"}
		}, "buckets", doctor.Failed, "bucket desired-state: its stream is not there"},
		"there is no log": {func(f *doctor.Facts) {
			f.Log = &doctor.Log{Trouble: &doctor.Trouble{Message: "there is none", Remedy: "start"}}
		}, "log", doctor.Failed, "there is none"},
		"no server leads the log":           {func(f *doctor.Facts) { f.Log.Leader = false }, "log", doctor.Failed, "nothing can be appended"},
		"a replica is behind":               {func(f *doctor.Facts) { f.Log.Behind = []string{"nats-2"} }, "log", doctor.Warning, "on nats-2 is offline or behind"},
		"the log is configured otherwise":   {func(f *doctor.Facts) { f.Log.Faults = []string{"its events can be deleted"} }, "log", doctor.Failed, "its events can be deleted"},
		"the log is configured so for ever": {func(f *doctor.Facts) { f.Log.Permanent = []string{"it is sealed"} }, "log", doctor.Failed, "it is sealed"},
		"one disk of a cluster has the log": {func(f *doctor.Facts) {
			f.Log.Replicas, f.Log.Cluster = 1, "fleet-nats" // whose servers advertise no others
			f.Server.Members, f.Server.Names, f.Members = 1, []string{"nats-0"}, nil
		}, "log", doctor.Failed, `1 replica in the cluster "fleet-nats" of servers: it is lost with one disk`},
		"one disk of the pods has the log": {func(f *doctor.Facts) {
			f.Log.Replicas, f.Kubernetes.Servers = 1, 3
			f.Server.Members, f.Server.Names, f.Members = 1, []string{"nats-0"}, nil
		}, "log", doctor.Failed, "there are 3 servers"},
		"one disk has the log":               {func(f *doctor.Facts) { f.Log.Replicas = 1 }, "log", doctor.Failed, "lost with one disk"},
		"the log is nearly full":             {func(f *doctor.Facts) { f.Log.Bytes = 900 << 20 }, "disk", doctor.Warning, "it is 88 % full"},
		"the log's reserve is about to open": {func(f *doctor.Facts) { f.Log.Bytes, f.Log.Size = 1<<30-1, 2<<30 }, "disk", doctor.Failed, "the operator opens its reserve"},
		"the log lives on its reserve":       {func(f *doctor.Facts) { f.Log.Bytes, f.Log.Size = 900<<20, 1<<30 }, "disk", doctor.Failed, "lives on its reserve"},
		"the log is full":                    {func(f *doctor.Facts) { f.Log.Bytes = 1<<30 - 1 }, "disk", doctor.Failed, "nothing is recorded or decided"},
		"the log is full in a week":          {func(f *doctor.Facts) { f.Growth.Bytes = 145 << 20 }, "disk", doctor.Warning, "145 MiB a day it is full in 6d23h"},
		"the log is full in a day":           {func(f *doctor.Facts) { f.Growth.Bytes = 1 << 30 }, "disk", doctor.Failed, "full in 23h"},
		"a bucket is gone":                   {func(f *doctor.Facts) { f.Buckets[0].Finding = buckets.Missing }, "buckets", doctor.Failed, "bucket desired-state: its stream is not there"},
		"a bucket stalls":                    {func(f *doctor.Facts) { f.Buckets[1].Since = now.Add(-time.Minute) }, "buckets", doctor.Failed, "lacks message 90000, which was recorded at 2026-11-29T11:59:00Z"},
		"a bucket has too few replicas":      {func(f *doctor.Facts) { f.Buckets[1].Replicas = 1 }, "buckets", doctor.Warning, "has 1 replica, and the log has 3"},
		"no operator ever led":               {func(f *doctor.Facts) { f.Operator = &doctor.Operator{} }, "operator", doctor.Failed, "no operator ever led"},
		"no operator answers":                {func(f *doctor.Facts) { f.Operator.Fold, f.Operator.Silent = nil, "no operator answers" }, "operator", doctor.Failed, "no operator answers, so nothing is decided"},
		"the operator answers nobody":        {func(f *doctor.Facts) { f.Operator.Unanswered, f.Operator.Since = 2, now.Add(-time.Hour) }, "operator", doctor.Failed, "2 requests are not answered, the oldest since 1h00m"},
		"an operator stands still": {func(f *doctor.Facts) {
			f.Operator.Fold = &attention.Fold{Sequence: 80_000, Lacks: 80_001, Since: now.Add(-time.Hour)}
		}, "operator", doctor.Failed, "up to 80000 of 90000, and the oldest event that it lacks is 1h00m old"},
		"an operator is behind": {func(f *doctor.Facts) {
			f.Operator.Fold = &attention.Fold{Sequence: 89_999, Lacks: 90_000, Since: now.Add(-20 * time.Second)}
		}, "operator", doctor.Warning, "up to 89999 of 90000"},
		"an operator folds the log still":                       {func(f *doctor.Facts) { f.Operator.Fold = &attention.Fold{Refused: "NotReady"} }, "operator", doctor.Warning, "does not answer devices that ask for their desired state: NotReady"},
		"the configuration has three servers not write through": {func(f *doctor.Facts) { no := false; f.Kubernetes.Synced, f.Members = &no, nil }, "kubernetes", doctor.Warning, "a power cut of all servers"},
		"a server of three does not write through":              {func(f *doctor.Facts) { f.Members[1].Synced, f.Members[1].Interval = false, 2*time.Minute }, "storage", doctor.Warning, "NATS server nats-1 syncs its disk only every 2m00s, after messages were acknowledged: a power cut of all servers"},
		"the only server does not write through": {func(f *doctor.Facts) {
			f.Members, f.Server.Names = f.Members[:1], nil
			f.Members[0].Synced, f.Log.Replicas, f.Server.Members = false, 1, 1
		}, "storage", doctor.Failed, "the log has 1 replica: a power cut loses"},
		"a server's pod says that it does not write through": {func(f *doctor.Facts) {
			f.Members, f.Kubernetes.Members = nil, f.Members
			f.Kubernetes.Members[2].Synced = false
		}, "storage", doctor.Warning, "NATS server nats-2 syncs"},
		"a server has stored nearly all that it may": {func(f *doctor.Facts) { f.Members[2].Room.Used = 44 << 30 }, "storage", doctor.Failed, "NATS server nats-2 has stored 44 GiB of 45 GiB: streams refuse messages"},
		"a server has stored much":                   {func(f *doctor.Facts) { f.Members[2].Room.Used = 40 << 30 }, "storage", doctor.Warning, "NATS server nats-2 has stored 40 GiB of 45 GiB"},
		"streams may have more than a server has":    {func(f *doctor.Facts) { f.Members[0].Room.Limit = 1 << 30 }, "storage", doctor.Warning, "NATS server nats-0 has stored 15 MiB of 1 GiB, and its streams may have 1 GiB together"},
		"the account has stored nearly all":          {func(f *doctor.Facts) { f.AccountRoom = &doctor.Room{Used: 99, Limit: 100} }, "storage", doctor.Failed, "the account of the log has stored 99 B of 100 B"},
		"the account reserved more than its limit":   {func(f *doctor.Facts) { f.AccountRoom = &doctor.Room{Used: 10, Limit: 100, Promised: 101} }, "storage", doctor.Warning, "the account of the log has stored 10 B of 100 B, and its streams may have 101 B"},
		"a stream is near its limit": {func(f *doctor.Facts) {
			f.Streams = []doctor.Stream{{Name: "PULSE", Bytes: 2 << 20, MaxBytes: 2200 << 10}}
		}, "storage", doctor.Warning, "stream PULSE has 2 MiB of 2.1 MiB: it refuses messages once it has all"},
		"the sessions have nearly all that they may": {func(f *doctor.Facts) {
			f.Streams = []doctor.Stream{{Name: "KV_dashboard-sessions", Bytes: 99, MaxBytes: 100, Memory: true}}
		}, "storage", doctor.Warning, "the sessions of the dashboard have 99 B of 100 B"},
		"a stream is full": {func(f *doctor.Facts) { f.Streams = []doctor.Stream{{Name: "OTHER", Bytes: 100, MaxBytes: 100}} }, "storage", doctor.Failed, "stream OTHER has 100 B of 100 B: it refuses messages"},
		"a full stream drops messages": {func(f *doctor.Facts) {
			f.Streams = []doctor.Stream{{Name: "OTHER", Bytes: 100, MaxBytes: 100, Drops: true}}
		}, "storage", doctor.Warning, "it drops its oldest messages"},
		"another server's clock is ahead": {func(f *doctor.Facts) { f.Members[1].Ahead = 20 * time.Second }, "clocks", doctor.Warning, "the clock of NATS server nats-1 is ahead of that of nats-0, by which events are recorded, by 20s"},
		"another server's clock is far behind": {func(f *doctor.Facts) {
			f.Members, f.Clocks = nil, []doctor.Clock{{Server: "nats-2", Ahead: -time.Hour, Blur: time.Second}, {Server: "nats-1"}, {Server: "nats-2", Ahead: -2 * time.Hour, Blur: time.Minute}}
		}, "clocks", doctor.Failed, "the clock of NATS server nats-2 is behind that of nats-0, by which events are recorded, by 59m59s"},
		"no device is heard":                 {func(f *doctor.Facts) { f.Pulses, f.Devices.Online = &doctor.Pulses{}, 0 }, "pulses", doctor.Failed, "hold no device's pulse"},
		"the servers have just started":      {func(f *doctor.Facts) { f.Pulses = &doctor.Pulses{} }, "pulses", doctor.Warning, "hold no device's pulse, though the log has 9 devices online"},
		"no device is heard any more":        {func(f *doctor.Facts) { f.Pulses.Newest, f.Devices.Online = now.Add(-time.Hour), 0 }, "pulses", doctor.Failed, "is 1h00m old"},
		"pulses are rare":                    {func(f *doctor.Facts) { f.Pulses.Newest = now.Add(-5 * time.Minute) }, "pulses", doctor.Warning, "is 5m00s old, though the log has 9 devices online"},
		"there was no seal for a while":      {func(f *doctor.Facts) { f.Seal.Since = now.Add(-2 * time.Hour) }, "seals", doctor.Warning, "1000 events since the last seal, the oldest 2h00m ago"},
		"the operator hears no device":       {func(f *doctor.Facts) { f.Devices.Online = 0 }, "pulses", doctor.Failed, "no operator listens"},
		"this machine's clock is behind":     {func(f *doctor.Facts) { f.Server.Ahead = 10 * time.Second }, "clocks", doctor.Warning, "the NATS server's clock is ahead of this machine's by 10s"},
		"this machine's clock is ahead":      {func(f *doctor.Facts) { f.Server.Ahead = -2 * time.Minute }, "clocks", doctor.Failed, "the NATS server's clock is behind this machine's by 2m00s"},
		"the operator's clock is behind":     {func(f *doctor.Facts) { f.Operator.Ahead = -time.Hour }, "clocks", doctor.Failed, "the operator's clock is behind the NATS server's by 59m30s"},
		"the operator's clock is ahead":      {func(f *doctor.Facts) { f.Operator.Ahead = 10 * time.Second }, "clocks", doctor.Warning, "the operator's clock is ahead of the NATS server's by 10s"},
		"a device's clock is off":            {func(f *doctor.Facts) { f.Pulses.Ahead = []doctor.DeviceClock{{"pi-01", -48 * time.Hour}} }, "clocks", doctor.Failed, "the clock of 1 device is off, the worst that of pi-01, by 2d00h"},
		"fleetctl is older":                  {func(f *doctor.Facts) { f.Version = "v1.3.9" }, "versions", doctor.Failed, "fleetctl is v1.3.9, and the operator is v1.4.2"},
		"fleetctl is newer":                  {func(f *doctor.Facts) { f.Version = "v2.0.0" }, "versions", doctor.Warning, "fleetctl is v2.0.0"},
		"agents are newer than the operator": {func(f *doctor.Facts) { f.Devices.Agents["v1.5.0"] = 3 }, "versions", doctor.Failed, "the agents of 3 devices are v1.5.0, newer"},
		"agents are old":                     {func(f *doctor.Facts) { f.Devices.Agents["v1.1.0"] = 1 }, "versions", doctor.Warning, "the agents of 1 device are v1.1.0, more than one minor version behind"},
		"an upgrade stopped half-way":        {func(f *doctor.Facts) { f.Kubernetes.Images["deployment/fleet-callout"] = "v1.3.0" }, "versions", doctor.Failed, "deployment/fleet-callout is v1.3.0"},
		"your token ends":                    {func(f *doctor.Facts) { f.Server.TokenEnds = now.Add(time.Second) }, "keys", doctor.Warning, "your token ends at"},
		"a key ends soon":                    {func(f *doctor.Facts) { f.Devices.Ending = []string{"pi-01"} }, "keys", doctor.Warning, "the keys of 1 device end within 30 days (pi-01)"},
		"a key has ended":                    {func(f *doctor.Facts) { f.Devices.Ended = []string{"a", "b", "c", "d", "e", "f"} }, "keys", doctor.Failed, "the keys of 6 devices have ended (a, b, c, d, e, …)"},
		"sealing has stopped":                {func(f *doctor.Facts) { f.Seal.Since = now.Add(-48 * time.Hour) }, "seals", doctor.Failed, "1000 events since the last seal, the oldest 2d00h ago"},
		"nothing was ever sealed":            {func(f *doctor.Facts) { f.Seal = &doctor.Seal{Uncovered: 5, Since: now.Add(-2 * time.Hour)} }, "seals", doctor.Warning, "no seal covers any"},
		"the last checkpoint is far":         {func(f *doctor.Facts) { f.Log.Last = 900_000 }, "checkpoints", doctor.Warning, "the newest is at 50000, and the log is at 900000"},
		"the checkpoints are others'":        {func(f *doctor.Facts) { f.Log.Last, f.Checkpoints = 900_000, &doctor.Checkpoints{Others: 7} }, "checkpoints", doctor.Warning, "none of 7 is usable"},
		"the cluster does not answer": {func(f *doctor.Facts) {
			f.Kubernetes = &doctor.Kubernetes{Trouble: &doctor.Trouble{Message: "refused", Remedy: "look"}}
		}, "kubernetes", doctor.Failed, "refused"},
		"a CRD is missing":               {func(f *doctor.Facts) { f.Kubernetes.Missing = []string{"devices.fleet.nationtech.io"} }, "kubernetes", doctor.Failed, "devices.fleet.nationtech.io"},
		"a workload is not ready":        {func(f *doctor.Facts) { f.Kubernetes.NotReady["statefulset/fleet-nats"] = "2 of 3 pods are ready" }, "kubernetes", doctor.Failed, "statefulset/fleet-nats is not ready: 2 of 3"},
		"no operator renews the Lease":   {func(f *doctor.Facts) { f.Kubernetes.LeaseAge = time.Hour }, "kubernetes", doctor.Failed, "renewed 1h00m ago"},
		"the Lease is of a time to come": {func(f *doctor.Facts) { f.Kubernetes.LeaseAge = -time.Hour }, "kubernetes", doctor.Warning, "was renewed 1h00m from now"},
		"one server does not write through": {func(f *doctor.Facts) {
			no := false
			f.Kubernetes.Synced, f.Log.Replicas, f.Server.Members, f.Server.Names, f.Members = &no, 1, 1, nil, nil
		}, "kubernetes", doctor.Failed, "a power cut loses what was acknowledged"},
		"a Secret's certificate ends": {func(f *doctor.Facts) { f.Kubernetes.Certificates["fleet-nats-tls"] = *until(now.Add(time.Hour)) }, "kubernetes", doctor.Failed, "Secret fleet-nats-tls ends in 1h00m"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := well()
			tc.breaks(&f)
			found := doctor.Examine(f)
			hit := slices.ContainsFunc(found, func(got doctor.Finding) bool {
				return got.Check == tc.check && got.Status == tc.status && strings.Contains(got.Message, tc.says) && got.Remedy != ""
			})
			if !hit || doctor.Healthy(found) != (tc.status != doctor.Failed) {
				t.Errorf("no %s of %s says %q:", tc.status, tc.check, tc.says)
			}
			for _, got := range found {
				wrong := got.Status == doctor.Warning || got.Status == doctor.Failed
				if !hit || wrong && got.Check != tc.check {
					t.Errorf("%+v", got)
				}
			}
		})
	}
}

// A certificate of a short life is renewed late by rights.
func TestAShortCertificateIsWell(t *testing.T) {
	t.Parallel()
	f := well()
	f.Server.Certificate = &attention.Certificate{Begins: now.Add(-time.Hour), Ends: now.Add(5 * 24 * time.Hour)}
	f.Kubernetes.Certificates["fleet-nats-tls"] = *f.Server.Certificate
	for _, one := range doctor.Examine(f) {
		if one.Status != doctor.OK {
			t.Errorf("%+v", one)
		}
	}
}

// What is well is said of that alone which was looked at.
func TestTheDoctorCallsNothingWellThatItDidNotSee(t *testing.T) {
	t.Parallel()
	said := func(f doctor.Facts, check string) string {
		for _, one := range doctor.Examine(f) {
			if one.Check == check && one.Status == doctor.OK {
				return one.Message
			}
		}
		return ""
	}
	f := well()
	if got, want := said(f, doctor.CheckClocks), "those of this machine, of 3 NATS servers, of the operator and of the devices agree within 5.0s"; got != want {
		t.Errorf("of all clocks: %q, want %q", got, want)
	}
	f.Operator, f.Pulses = nil, nil
	if got, want := said(f, doctor.CheckClocks), "those of this machine and of 3 NATS servers agree within 5.0s"; got != want {
		t.Errorf("of the servers' clocks alone: %q, want %q", got, want)
	}
	f.Kubernetes.Installed, f.Kubernetes.Surveyed, f.Kubernetes.Defined = false, false, false
	f.Kubernetes.Unread = []string{"CRD devices.fleet.nationtech.io: forbidden"}
	if got := said(f, doctor.CheckKubernetes); got != "" {
		t.Errorf("nothing of the cluster may be read, and the doctor says %q", got)
	}
	f.Kubernetes.Installed = true
	if got, want := said(f, doctor.CheckKubernetes), "what could be looked at of the server side is ready in the cluster prod"; got != want {
		t.Errorf("of a part of the cluster: %q, want %q", got, want)
	}
}

func TestWhatCannotBeReachedOrSeenIsSaidAndIsNoFailure(t *testing.T) {
	t.Parallel()
	found := doctor.Examine(doctor.Facts{Unreachable: &doctor.Trouble{Message: "connect: refused", Remedy: "fleet-dev up"}})
	if len(found) != 1 || found[0].Check != doctor.CheckConnection || found[0].Status != doctor.Failed || found[0].Remedy != "fleet-dev up" || doctor.Healthy(found) {
		t.Errorf("%+v", found)
	}
	k := well().Kubernetes
	k.NotReady["statefulset/fleet-nats"] = "0 of 3 pods are ready"
	found = doctor.Examine(doctor.Facts{Unreachable: &doctor.Trouble{Message: "connect: refused", Remedy: "fleet-dev up"}, Kubernetes: k})
	if len(found) != 2 || found[1].Check != doctor.CheckKubernetes || found[1].Message != "statefulset/fleet-nats is not ready: 0 of 3 pods are ready" {
		t.Errorf("the servers are not there because of the cluster: %+v", found)
	}
	found = doctor.Examine(doctor.Facts{LeftOut: map[string]string{doctor.CheckBuckets: "you may not"}})
	for _, f := range found {
		if f.Status != doctor.LeftOut || f.Check == doctor.CheckBuckets && f.Message != "you may not" {
			t.Errorf("%+v", f)
		}
	}
	if len(found) != len(doctor.Checks()) || !doctor.Healthy(found) {
		t.Errorf("%+v", found)
	}
	f := well()
	f.Growth, f.GrowthUnread = nil, "no answer"
	if found = doctor.Examine(f); !slices.Contains(found, doctor.Finding{Check: doctor.CheckDisk, Status: doctor.LeftOut, Message: "when it is full cannot be said: no answer"}) || !doctor.Healthy(found) {
		t.Errorf("%+v", found)
	}
	f = well()
	f.Operator.Fold, f.Operator.FoldUnread = nil, "no answer"
	if found = doctor.Examine(f); !slices.Contains(found, doctor.Finding{Check: doctor.CheckOperator, Status: doctor.LeftOut, Message: "how far an operator has folded the log is not known: no answer"}) || !doctor.Healthy(found) {
		t.Errorf("%+v", found)
	}
	f = well()
	f.Members, f.Streams, f.Clocks = nil, f.Members[0].Streams, []doctor.Clock{{Server: "nats-0"}}
	found = doctor.Examine(f)
	for _, want := range []doctor.Finding{
		{Check: doctor.CheckStorage, Status: doctor.OK, Message: "the streams have 15 MiB, and may have 1 GiB together"},
		{Check: doctor.CheckStorage, Status: doctor.LeftOut, Message: `user "ada" may not ask the servers how much they may store, and whether they write it through to their disks. Ask as a user of account SYS, or give --kubeconfig where they run in Kubernetes`},
		{Check: doctor.CheckClocks, Status: doctor.LeftOut, Message: `the time of NATS servers nats-1, nats-2 is not known: user "ada" hears`},
	} {
		if !slices.ContainsFunc(found, func(got doctor.Finding) bool {
			return got.Check == want.Check && got.Status == want.Status && strings.HasPrefix(got.Message, want.Message)
		}) {
			t.Errorf("%+v is not among %+v", want, found)
		}
	}
	f = well()
	f.Kubernetes.Unread = []string{"the operator's Lease: forbidden"}
	if found = doctor.Examine(f); found[len(found)-1].Status != doctor.LeftOut || !doctor.Healthy(found) {
		t.Errorf("%+v", found)
	}
}

// A rebuild helps a bucket whose stream is not what it should be. It does nothing for one
// that no server leads, and is refused while another goes on.
func TestARebuildIsAdvisedWhereItHelps(t *testing.T) {
	t.Parallel()
	for finding, advised := range map[buckets.Finding]bool{
		buckets.Missing: true, buckets.OtherLog: true, buckets.Misconfigured: true, buckets.Unfinished: false, buckets.Halted: false,
	} {
		f := well()
		f.Buckets[0].Finding = finding
		found := doctor.Examine(f)
		i := slices.IndexFunc(found, func(one doctor.Finding) bool { return one.Check == doctor.CheckBuckets })
		item := attention.Of(&fleet.View{}, now, attention.Facts{Buckets: []attention.Bucket{f.Buckets[0].Bucket}})[0]
		const rebuild = "fleetctl rebuild desired-state"
		if found[i].Status != doctor.Failed || strings.Contains(found[i].Remedy, rebuild) != advised || (item.Command == rebuild) != advised {
			t.Errorf("%s: doctor says %+v, and the list %+v", finding, found[i], item)
		}
	}
}
