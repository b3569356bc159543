package eventlog_test

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
)

// Whatever lies in the log, decoding ends, and ends as an event or as foreign.
func FuzzDecode(f *testing.F) {
	f.Add("fleet.evt.state.pi-01.web", "", "", "", "", []byte(`{"device_id":"pi-01","deployment":"web","phase":"Running"}`))
	f.Add("fleet.evt.desired.pi-01.web", "io.nationtech.fleet.desired.assigned.v1", "2026-11-24T14:03:00Z", "a.1", "DEL", []byte(`{"type":"PodmanV0"}`))
	f.Add("fleet.evt.deployment.shop.web", "io.nationtech.fleet.deployment.applied.v1", "", "", "", []byte(`{"score":{}}`))
	f.Add("fleet.evt.request.ada.shop.web", "io.nationtech.fleet.request.made.v99999999999999999999", "", "..", "PURGE", []byte(nil))
	f.Add("fleet.evt.deployment.shop.web", "io.nationtech.fleet.rollout.started.v2", "", "", "", []byte(`{"revision":2,"batches":[{"cut":"18446744073709551615","size":1}]}`))
	f.Add("fleet.evt.budget.racks", "io.nationtech.fleet.budget.applied.v1", "", "", "", []byte(`{"maxUnavailable":"10%","groupBy":["site"]}`))
	f.Fuzz(func(t *testing.T, subject, typ, at1, counter, op string, data []byte) {
		h := nats.Header{
			eventlog.HeaderType: {typ}, eventlog.HeaderTime: {at1}, eventlog.HeaderCounter: {counter}, eventlog.HeaderKVOperation: {op},
		}
		e, err := eventlog.Decode(subject, h, data, 1, at)
		if err == nil {
			err = eventlog.Check(e)
		}
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			t.Fatalf("an error that is not ErrForeign: %v", err)
		}
		if _, err := eventlog.CloudEventJSON(e, err); err != nil {
			t.Fatalf("cannot be shown: %v", err)
		}
	})
}

func FuzzParseSubject(f *testing.F) {
	f.Add("fleet.evt.leader")
	f.Add("fleet.evt.state..")
	f.Add("fleet.evt.deployment.a.b.c")
	f.Add("fleet.evt.budget.a")
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := eventlog.ParseSubject(s); err == nil && a.Family == "" {
			t.Fatalf("%q parsed without a family", s)
		}
		eventlog.DeviceOfPulse(s)
		eventlog.DeviceOfSync(s)
		eventlog.ParseDeviceCommand(s)
		eventlog.ParseDesiredKV(s)
	})
}

func FuzzScore(f *testing.F) {
	f.Add([]byte(`{"type":"PodmanV0","data":{"services":[]}}`))
	f.Add([]byte(`{"type":"PodmanV0","data":1e999}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := eventlog.DecodeScore(b)
		if err != nil {
			return
		}
		c, err := s.Canonical()
		if err != nil {
			return
		}
		again, err := eventlog.DecodeScore(c)
		if err != nil {
			t.Fatalf("canonical form cannot be read: %v", err)
		}
		twice, err := again.Canonical()
		if err != nil || string(twice) != string(c) {
			t.Fatalf("canonical form is not stable: %s, then %s (%v)", c, twice, err)
		}
	})
}

func TestSubjectsAreReadAsTheyWereMade(t *testing.T) {
	t.Parallel()
	label := rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?`)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := label.Draw(t, "a"), label.Draw(t, "b"), label.Draw(t, "c")
		for subject, want := range map[string]eventlog.Address{
			eventlog.LeaderSubject:              {Family: eventlog.FamilyLeader},
			eventlog.SealSubject:                {Family: eventlog.FamilySeal},
			eventlog.DeploymentSubject(a, b):    {Family: eventlog.FamilyDeployment, Namespace: a, Name: b},
			eventlog.DesiredSubject(a, b):       {Family: eventlog.FamilyDesired, Device: a, Deployment: b},
			eventlog.StateSubject(a, b):         {Family: eventlog.FamilyState, Device: a, Deployment: b},
			eventlog.DeviceSubject(a):           {Family: eventlog.FamilyDevice, Device: a},
			eventlog.InfoSubject(a):             {Family: eventlog.FamilyInfo, Device: a},
			eventlog.AgentSubject(a):            {Family: eventlog.FamilyAgent, Device: a},
			eventlog.CommandSubject(a):          {Family: eventlog.FamilyCommand, Device: a},
			eventlog.AccessSubject(a):           {Family: eventlog.FamilyAccess, Device: a},
			eventlog.BudgetSubject(a):           {Family: eventlog.FamilyBudget, Name: a},
			eventlog.AuthSubject(a):             {Family: eventlog.FamilyAuth, Device: a},
			eventlog.RequestSubject(a, b, c):    {Family: eventlog.FamilyRequest, User: a, Namespace: b, Name: c},
			eventlog.DeviceRequestSubject(a, b): {Family: eventlog.FamilyRequest, User: a, Device: b},
		} {
			got, err := eventlog.ParseSubject(subject)
			if err != nil || got != want {
				t.Fatalf("%s = %+v, %v; want %+v", subject, got, err, want)
			}
		}
		for _, bucket := range eventlog.Buckets() {
			p := eventlog.ProjectionOf(bucket)
			subject := map[string]string{
				eventlog.BucketDesired: eventlog.DesiredSubject(a, b), eventlog.BucketState: eventlog.StateSubject(a, b),
				eventlog.BucketInfo: eventlog.InfoSubject(a), eventlog.BucketHeartbeat: eventlog.PulseSubject(a),
			}[bucket]
			key, ok := p.Key(subject)
			back, err := eventlog.SubjectOfKey(bucket, key)
			if !ok || err != nil || back != subject {
				t.Fatalf("bucket %s: %s became key %q and came back as %s (%v)", bucket, subject, key, back, err)
			}
		}
	})
}
