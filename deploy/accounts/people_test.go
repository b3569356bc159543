package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/buckets"
	"fleet.nationtech.io/projections/verify"
)

// shown is all that a reader gives of a log, a line an event.
func shown(t *testing.T, js jetstream.JetStream, o reader.Options) (all []string) {
	t.Helper()
	for e, err := range reader.Read(soon(t), js, o) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			t.Fatal(err)
		}
		all = append(all, line(e, err))
	}
	return all
}

func line(e eventlog.Event, foreign error) string {
	return fmt.Sprintf("%d %s %s %v %q %v", e.Sequence, e.Subject, e.Recorded.UTC(), e.Header, e.Data, foreign)
}

// Who may only read, without JetStream and without consumers, reads what the operator
// reads: the log to its end and on, by filters, across a change of the log's leader,
// and all that verify compares.
func TestAViewerReadsWhatTheOperatorReads(t *testing.T) {
	t.Parallel()
	for name, world := range map[string]func(*testing.T) *world{"one server": newWorld, "three servers": newCluster} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := world(t)
			drafts := make([]eventlog.Draft, 9_000) // more than two batches
			for i := range drafts {
				drafts[i] = assigned(fmt.Sprintf("d%d", i%500), "web")
			}
			w.lead(drafts)
			device := w.device(victim)
			for i := range 20 {
				m := nats.NewMsg(eventlog.StateSubject(victim, "web"))
				m.Data = fmt.Appendf(nil, `{"device_id":"victim","deployment":"web","phase":"Running","revision":%d}`, i)
				natstest.Settle(t, func(ctx context.Context) error {
					_, err := device.RequestMsgWithContext(ctx, m)
					return err
				})
			}
			natstest.Settle(t, func(ctx context.Context) error {
				_, err := device.RequestWithContext(ctx, eventlog.PulseSubject(victim), []byte(`{}`))
				return err
			})
			var refused violations
			_, js := w.as(victor, refused.option())
			for which, o := range map[string]reader.Options{
				"all": {}, "the tail": {From: 8_990}, "the middle": {From: 4_000, Until: 4_010},
				"a device, on two filters": {Subjects: []string{eventlog.DesiredSubject("d7", eventlog.Wildcard), eventlog.StateSubject(victim, eventlog.Wildcard)}},
			} {
				if diff := cmp.Diff(shown(t, w.js, o), shown(t, js, o)); diff != "" {
					t.Errorf("%s (-the operator +the viewer):\n%s", which, diff)
				}
			}

			// It follows while the log goes on, and while its leader changes.
			last, err := reader.LastSequence(soon(t), js, eventlog.LogStream, eventlog.LogSubjects)
			if err != nil {
				t.Fatal(err)
			}
			const more = 60
			said := make(chan error, 1)
			go func() {
				defer close(said)
				asked := func(nc *nats.Conn, m *nats.Msg) bool {
					for deadline := time.Now().Add(timeout); time.Now().Before(deadline); {
						if _, err := nc.RequestMsg(m, 5*time.Second); err == nil {
							return true
						}
					}
					return false
				}
				for i := range more {
					if i == more/2 && name != "one server" && !asked(w.nc, nats.NewMsg("$JS.API.STREAM.LEADER.STEPDOWN.FLEET")) {
						said <- errors.New("the leader does not step down")
						return
					}
					m := nats.NewMsg(eventlog.StateSubject(victim, "web"))
					m.Data = fmt.Appendf(nil, `{"device_id":"victim","deployment":"web","phase":"Pending","revision":%d}`, i)
					m.Header.Set(nats.MsgIdHdr, fmt.Sprintf("more-%d", i))
					if !asked(device, m) {
						said <- fmt.Errorf("report %d is not acknowledged", i)
						return
					}
				}
			}()
			var followed []string
			patient, cancel := context.WithTimeout(t.Context(), 3*timeout) // a leader is chosen meanwhile
			defer cancel()
			for e, err := range reader.Follow(patient, js, reader.Options{From: last + 1}) {
				if err != nil {
					t.Fatal(err)
				}
				if followed = append(followed, line(e, err)); len(followed) == more {
					break
				}
			}
			if err := <-said; err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(shown(t, w.js, reader.Options{From: last + 1}), followed); diff != "" {
				t.Errorf("what was followed (-the operator reads +the viewer):\n%s", diff)
			}

			r, err := verify.Run(soon(t), js, verify.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Differences() > 0 || len(r.Buckets) != len(eventlog.Buckets()) {
				t.Errorf("verify compares %d buckets and finds %v", len(r.Buckets), r.Findings)
			}
			refused.mu.Lock()
			defer refused.mu.Unlock()
			if len(refused.all) > 0 {
				t.Errorf("the server refused %v", refused.all)
			}
		})
	}
}

// A message that somebody in account FLEET had a server copy to a subject of the log
// is stored, and no reader takes it for an event. The buckets are the server's own: one
// of them has the copy, and verify says that it is foreign.
func TestACopyThatIsStoredAsAnEventIsForeign(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(assigned(victim, "web"))
	copied := map[string]string{} // by where it is copied to
	for deployment, typ := range map[string]eventlog.Type{"revoke": eventlog.AccessRevoked, "assign": eventlog.DesiredAssigned} {
		// Without Nats-Msg-Id, or the log would refuse the copy for two minutes.
		m := nats.NewMsg(eventlog.StateSubject(mallory, deployment))
		m.Header.Set(eventlog.HeaderType, eventlog.CloudEventType(typ, 1))
		m.Data = []byte(`{"data":{"services":[]},"type":"PodmanV0","reason":"Forged"}`)
		if _, err := w.js.PublishMsg(soon(t), m); err != nil {
			t.Fatal(err)
		}
		to := eventlog.AccessSubject(victim)
		if typ == eventlog.DesiredAssigned {
			to = eventlog.DesiredSubject(victim, "forged")
		}
		copied[to] = m.Subject
	}
	for to, from := range copied {
		if err := w.nc.PublishRequest(eventlog.DirectGetAPIs(eventlog.LogStream)[0], to, fmt.Appendf(nil, `{"last_by_subj":%q}`, from)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the copy is stored", func() bool { return w.logged()[to] == 1 })
	}
	_, people := w.as(victor)
	for reads, js := range map[string]jetstream.JetStream{"the operator": w.js, "a viewer": people} {
		for to := range copied {
			for e, err := range reader.Read(soon(t), js, reader.Options{Subjects: []string{to}}) {
				if !errors.Is(err, eventlog.ErrForeign) {
					t.Errorf("%s reads event %d on %s: %v", reads, e.Sequence, to, err)
				}
			}
		}
		v, err := asof.At(soon(t), js, asof.Moment{}, asof.Options{})
		if err != nil {
			t.Fatal(err)
		}
		d := v.Devices[victim]
		assigned := 0
		for range d.Assignments {
			assigned++
		}
		if d.Access != nil || assigned != 1 || v.Foreign[eventlog.FamilyAccess] != 1 || v.Foreign[eventlog.FamilyDesired] != 1 {
			t.Errorf("%s sees access %v, %d assignments, foreign messages %v", reads, d.Access, assigned, v.Foreign)
		}
		r, err := verify.Run(soon(t), js, verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if r.Differences() > 0 || r.Counts[verify.Foreign] < 2 {
			t.Errorf("verify by %s finds %v", reads, r.Findings)
		}
	}
	if is, err := buckets.Check(soon(t), w.js, eventlog.BucketDesired); err != nil || is != buckets.Sound {
		t.Errorf("the bucket is %s, %v", is, err)
	}
	if _, err := w.bucket(w.js, eventlog.BucketDesired).Get(soon(t), eventlog.DesiredKey(victim, "forged")); err != nil {
		t.Errorf("the server's own projection lacks the copy: %v", err)
	}
}
