package status_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/status"
	"fleet.nationtech.io/projections/fleet"
)

var now = time.Date(2026, 11, 24, 14, 3, 0, 0, time.UTC)

func spec(change ...func(*decide.Spec)) decide.Spec {
	s := decide.Spec{
		Key: fleet.Key{Namespace: "shop", Name: "web"}, Generation: 3, Strategy: "Immediate",
		Selector: labels.SelectorFromSet(labels.Set{"site": "lab"}),
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

func TestReady(t *testing.T) {
	t.Parallel()
	logged := func(c fleet.Counts) *fleet.Deployment {
		return &fleet.Deployment{
			Counts: c, Spec: eventlog.Deployment{Revision: 7, Generation: 3},
			Run: fleet.Run{ID: 1, Kind: eventlog.RunImmediate, Target: fleet.Target{Revision: 7}, Batch: 1, Phase: fleet.PhaseCompleted},
		}
	}
	seen := v1alpha1.DeploymentStatus{ObservedGeneration: 3}
	tests := map[string]struct {
		in     status.Deployments
		status metav1.ConditionStatus
		reason string
		says   string
	}{
		"a new generation is Unknown in the write that first sees it": {
			in:     status.Deployments{Spec: spec(), Log: logged(fleet.Counts{Matched: 1, Succeeded: 1}), Placed: true, Previous: v1alpha1.DeploymentStatus{ObservedGeneration: 2}},
			status: metav1.ConditionUnknown, reason: v1alpha1.ReasonNewGeneration, says: "generation 3",
		},
		"what is being deleted says how many devices are left": {
			in: status.Deployments{
				Spec: spec(func(s *decide.Spec) { s.Deleting, s.Problem = true, &decide.Problem{Reason: "X", Message: "x"} }),
				Log:  logged(fleet.Counts{Matched: 2, Pending: 2}), Previous: v1alpha1.DeploymentStatus{ObservedGeneration: 2},
			},
			status: metav1.ConditionFalse, reason: v1alpha1.ReasonDeleting, says: "being deleted; 2 devices still to be withdrawn from",
		},
		"what is being deleted and is on no device": {
			in:     status.Deployments{Spec: spec(func(s *decide.Spec) { s.Deleting = true }), Log: logged(fleet.Counts{}), Previous: seen},
			status: metav1.ConditionFalse, reason: v1alpha1.ReasonDeleting, says: "it is on no device",
		},
		"what is being deleted while the log is full": {
			in:     status.Deployments{Spec: spec(func(s *decide.Spec) { s.Deleting = true }), Log: logged(fleet.Counts{Matched: 1}), Previous: seen, LogFull: "raise it"},
			status: metav1.ConditionFalse, reason: status.ReasonLogFull, says: "raise it",
		},
		"a log that is full is said, whatever was known before": {
			in:     status.Deployments{Spec: spec(), Log: logged(fleet.Counts{Matched: 1, Updated: 1, Succeeded: 1}), Placed: true, Previous: seen, LogFull: "raise it"},
			status: metav1.ConditionFalse, reason: status.ReasonLogFull, says: "raise it",
		},
		"a log that is full before it ever heard of the Deployment": {
			in:     status.Deployments{Spec: spec(), Previous: seen, LogFull: "raise it"},
			status: metav1.ConditionFalse, reason: status.ReasonLogFull, says: "raise it",
		},
		"a new generation is Unknown first, though the log is full": {
			in:     status.Deployments{Spec: spec(), LogFull: "raise it"},
			status: metav1.ConditionUnknown, reason: v1alpha1.ReasonNewGeneration, says: "generation 3",
		},
		"a log that lives on its reserve is said beside what is known": {
			in:     status.Deployments{Spec: spec(), Log: logged(fleet.Counts{Matched: 1, Updated: 1, Succeeded: 1}), Placed: true, Previous: seen, LogReserve: "raise it"},
			status: metav1.ConditionTrue, reason: v1alpha1.ReasonAllSucceeded, says: "revision 7; raise it",
		},
		"every matched device succeeded": {
			in:     status.Deployments{Spec: spec(), Log: logged(fleet.Counts{Matched: 2, Updated: 2, Succeeded: 2}), Placed: true, Previous: seen},
			status: metav1.ConditionTrue, reason: v1alpha1.ReasonAllSucceeded, says: "2 devices",
		},
		"not all are assigned yet, so counts do not speak": {
			in:     status.Deployments{Spec: spec(), Log: logged(fleet.Counts{Matched: 2, Updated: 2, Succeeded: 2}), Previous: seen},
			status: metav1.ConditionFalse, reason: v1alpha1.ReasonProgressing, says: "being assigned",
		},
		"no device matches, and the message shows the selector": {
			in:     status.Deployments{Spec: spec(), Log: logged(fleet.Counts{}), Placed: true, Previous: seen},
			status: metav1.ConditionTrue, reason: v1alpha1.ReasonNoDeviceMatches, says: "site=lab",
		},
		"those that did not succeed are all offline": {
			in:     status.Deployments{Spec: spec(), Log: logged(fleet.Counts{Matched: 3, Succeeded: 1, Pending: 1, Failed: 1, Offline: 2}), Placed: true, Previous: seen},
			status: metav1.ConditionTrue, reason: v1alpha1.ReasonOnlineSucceeded, says: "2 devices are offline",
		},
		"all are offline and none succeeded": {
			in:     status.Deployments{Spec: spec(), Log: logged(fleet.Counts{Matched: 2, Pending: 2, Offline: 2}), Placed: true, Previous: seen},
			status: metav1.ConditionFalse, reason: v1alpha1.ReasonAllOffline, says: "offline",
		},
		"one that is online fails": {
			in:     status.Deployments{Spec: spec(), Log: logged(fleet.Counts{Matched: 2, Succeeded: 1, Failed: 1, FailedOnline: 1}), Placed: true, Previous: seen},
			status: metav1.ConditionFalse, reason: v1alpha1.ReasonDeviceFailed, says: "1 of 2 devices failed",
		},
		"one that failed is offline and another is still at work": {
			in:     status.Deployments{Spec: spec(), Log: logged(fleet.Counts{Matched: 2, Failed: 1, Pending: 1, Offline: 1}), Placed: true, Previous: seen},
			status: metav1.ConditionFalse, reason: v1alpha1.ReasonProgressing, says: "1 of them offline",
		},
		"a conflict names the other and counts the devices": {
			in:     status.Deployments{Spec: spec(), Log: logged(fleet.Counts{Matched: 1, Succeeded: 1}), Placed: true, Holder: fleet.Key{Namespace: "lab", Name: "web"}, Conflicted: 4, Previous: seen},
			status: metav1.ConditionFalse, reason: v1alpha1.ReasonNameConflict, says: "lab/web holds the name \"web\" on 4 devices",
		},
		"a score that nobody knows": {
			in: status.Deployments{Spec: spec(func(s *decide.Spec) {
				s.Problem = &decide.Problem{Reason: v1alpha1.ReasonUnsupportedScore, Message: "no"}
			}), Previous: seen},
			status: metav1.ConditionFalse, reason: v1alpha1.ReasonUnsupportedScore, says: "no",
		},
		"the log belongs to another cluster": {
			in:     status.Deployments{Spec: spec(), ClusterMismatch: "run with --adopt-cluster", Previous: seen},
			status: metav1.ConditionFalse, reason: status.ReasonClusterMismatch, says: "--adopt-cluster",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := status.Ready(tt.in)
			if got.Status != tt.status || got.Reason != tt.reason || !strings.Contains(got.Message, tt.says) {
				t.Errorf("Ready = %s, %s, %q; want %s, %s, something with %q", got.Status, got.Reason, got.Message, tt.status, tt.reason, tt.says)
			}
		})
	}
}

func TestAStatusThatSaysTheSameIsTheSame(t *testing.T) {
	t.Parallel()
	in := status.Deployments{Spec: spec(), Placed: true, Log: &fleet.Deployment{Counts: fleet.Counts{Matched: 1, Pending: 1}}}
	in.Previous = status.Deployment(in, now)
	in.Previous = status.Deployment(in, now.Add(time.Second))
	again := status.Deployment(in, now.Add(time.Hour))
	if diff := cmp.Diff(in.Previous, again); diff != "" {
		t.Errorf("an hour later, with nothing changed (-before +after):\n%s", diff)
	}
}

func TestDeviceStatus(t *testing.T) {
	t.Parallel()
	dev := &fleet.Device{ID: "pi-01", Presence: fleet.Presence{Online: fleet.OnlineFalse, Reason: status.ReasonPulseMissed, LastSeen: now}}
	s := status.Device(status.Devices{Log: dev, Generation: 2}, now)
	want := []metav1.Condition{{
		Type: v1alpha1.ConditionOnline, Status: metav1.ConditionFalse, Reason: status.ReasonPulseMissed, ObservedGeneration: 2,
		LastTransitionTime: metav1.NewTime(now), Message: "no pulse since 2026-11-24T14:03:00Z; the device runs what it last had",
	}}
	if diff := cmp.Diff(want, s.Conditions); diff != "" {
		t.Errorf("conditions (-want +got):\n%s", diff)
	}
	dev.Presence = fleet.Presence{Online: fleet.OnlineTrue, Reason: status.ReasonPulseReceived, LastSeen: now}
	s = status.Device(status.Devices{Log: dev, Generation: 2, Previous: s}, now.Add(time.Minute))
	c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionOnline)
	if c == nil || c.Status != metav1.ConditionTrue || !c.LastTransitionTime.Time.Equal(now.Add(time.Minute)) {
		t.Errorf("after a pulse: %+v", c)
	}
	dev.Identity.Alternated = now
	s = status.Device(status.Devices{Log: dev, Previous: s}, now.Add(time.Minute))
	if !meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionDuplicateIdentity) {
		t.Error("two epochs alternate and no condition says so")
	}
	s = status.Device(status.Devices{Log: dev, Previous: s}, now.Add(time.Hour))
	if meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionDuplicateIdentity) {
		t.Error("the alternation is an hour ago and the condition still says so")
	}
	if diff := cmp.Diff(&v1alpha1.DeviceDeployments{}, s.Deployments, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("deployments (-want +got):\n%s", diff)
	}
}

func TestADeviceShowsWhatTheLogNeverAssignedToIt(t *testing.T) {
	t.Parallel()
	v := fleet.New()
	report := func(name string, removed bool) {
		h := nats.Header{}
		data := fmt.Appendf(nil, `{"device_id":"pi-01","deployment":%q,"phase":"Running"}`, name)
		if removed {
			h.Set(eventlog.HeaderKVOperation, "DEL")
			data = nil
		}
		e, err := eventlog.Decode(eventlog.StateSubject("pi-01", name), h, data, v.Sequence+1, now)
		fleet.Apply(v, e, err)
	}
	report("web", false)
	report("db", false)
	s := status.Device(status.Devices{Log: v.Devices["pi-01"], Generation: 1}, now)
	c := meta.FindStatusCondition(s.Conditions, status.ConditionUnknownDeployments)
	if c == nil || c.Status != metav1.ConditionTrue || c.Reason != status.ReasonNeverAssigned ||
		!strings.HasPrefix(c.Message, "the device reports db, web, which the event log never assigned to it") {
		t.Errorf("conditions: %+v", s.Conditions)
	}
	for i := range 2 * fleet.MaxUnknown {
		report(fmt.Sprint("stray-", i), false)
	}
	c = meta.FindStatusCondition(status.Device(status.Devices{Log: v.Devices["pi-01"], Generation: 1}, now).Conditions, status.ConditionUnknownDeployments)
	if c == nil || c.Status != metav1.ConditionTrue || c.Reason != status.ReasonTooManyUnknown ||
		!strings.HasPrefix(c.Message, "the device reports 64 Deployments that the event log never assigned to it; the operator ignores its reports of any other") {
		t.Errorf("with more than are kept: %+v", c)
	}
	for i := range 2 * fleet.MaxUnknown {
		report(fmt.Sprint("stray-", i), true)
	}
	report("web", true)
	report("db", true)
	s = status.Device(status.Devices{Log: v.Devices["pi-01"], Generation: 1, Previous: s}, now)
	if c := meta.FindStatusCondition(s.Conditions, status.ConditionUnknownDeployments); c != nil {
		t.Errorf("after they are gone: %+v", c)
	}
}

func TestUnknownFieldsAreReportedWhileThereAreSome(t *testing.T) {
	t.Parallel()
	misspelt := spec(func(s *decide.Spec) { s.Unknown = []string{"x is not known to this version; did you mean y?"} })
	first := status.Deployment(status.Deployments{Spec: misspelt}, time.Unix(1000, 0))
	c := meta.FindStatusCondition(first.Conditions, v1alpha1.ConditionUnknownFields)
	if c == nil || c.Status != metav1.ConditionTrue || c.Reason != v1alpha1.ReasonNotKnown || !strings.HasPrefix(c.Message, misspelt.Unknown[0]) {
		t.Fatalf("the condition is %+v", c)
	}
	then := status.Deployment(status.Deployments{Spec: spec(), Previous: first}, time.Unix(2000, 0))
	if c := meta.FindStatusCondition(then.Conditions, v1alpha1.ConditionUnknownFields); c != nil {
		t.Errorf("after the field went the condition is still there: %+v", c)
	}
}
