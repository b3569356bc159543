package operator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/operator/status"
)

// Whatever a device says, the statuses that show it are written.
func TestWhateverADeviceReportsItsStatusIsWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	w.logged()
	w.device("pi-01", map[string]string{"site": "lab"})
	ns := w.api.Namespace(t)
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)

	const odd = "\u007f\u0080\u0085\u009b\u2028\ufeff\ufffe\U0001f600 <&>"
	for what, at := range map[string]string{
		odd: ``, "no time": ``, "the first time there is": `"last_event_at":"0001-01-01T00:00:00Z",`, "a time without a fraction": `"last_event_at":"2026-11-24T14:03:00Z",`,
		"the year 0": `"last_event_at":"0000-01-01T00:00:00Z",`, "a time that is in another year here": `"last_event_at":"9999-12-31T23:59:59-14:00",`,
	} {
		w.publish(msg(eventlog.StateSubject("pi-01", "web"), `{"device_id":"pi-01","deployment":"web","phase":"Failed",`+at+`"reason":"`+strings.Repeat("no ", 100)+`","last_error":"`+what+`"}`))
		eventually(t, what+" is shown", func() string {
			d := w.deployment(ns, "web")
			if a := d.Status.Aggregate; a == nil || a.LastError == nil || a.LastError.Message != what {
				return fmt.Sprintf("%+v", d.Status.Conditions)
			}
			return ""
		})
	}

	long := strings.Repeat("ü", 5000)
	w.json(eventlog.InfoSubject("pi-01"), eventlog.DeviceInfo{
		DeviceID: "pi-01", Labels: map[string]string{"site": "lab", "note": long, "": "", long: "x", "a b": "c\x00\n", odd: odd},
		Inventory: eventlog.Inventory{Hostname: long, Arch: long, OS: long, Kernel: odd, CPUCores: -4, MemoryMB: -3, AgentVersion: "2" + long, PodmanVersion: long},
	})
	eventually(t, "the device's words are shown", func() string {
		d, err := w.fleet.FleetV1alpha1().Devices().Get(t.Context(), "pi-01", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if !strings.HasPrefix(d.Status.AgentVersion, "2ü") || d.Spec.Inventory.Kernel != odd || d.Status.ReportedLabels[odd] != odd {
			return fmt.Sprintf("%.300v", d.Status)
		}
		return ""
	})

	revoked, err := eventlog.NewDraft(eventlog.AccessSubject("pi-01"), eventlog.AccessRevoked, time.Now(),
		eventlog.Access{Reason: "it was lost, on the train", Message: strings.Repeat("x", 100_000)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := appender.Unfenced(t.Context(), w.js, "test", revoked); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the revocation is shown", func() string {
		d, err := w.fleet.FleetV1alpha1().Devices().Get(t.Context(), "pi-01", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if !meta.IsStatusConditionTrue(d.Status.Conditions, status.ConditionAccessRevoked) {
			return fmt.Sprintf("%.300v", d.Status.Conditions)
		}
		return ""
	})
}

func TestTwoMachinesUnderOneIdentityAreToldAndNeitherIsCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	w.logged()
	w.device("pi-01", map[string]string{"site": "lab"})
	for _, counter := range []string{"A.1", "B.1", "A.2", "B.2"} { // two stores, in turns
		m := msg(eventlog.InfoSubject("pi-01"), `{"device_id":"pi-01"}`)
		m.Header = nats.Header{eventlog.HeaderCounter: {counter}}
		w.publish(m)
	}
	w.warned(v1alpha1.ConditionDuplicateIdentity, "Two machines report as device pi-01")
	eventually(t, "the condition", func() string {
		d, err := w.fleet.FleetV1alpha1().Devices().Get(t.Context(), "pi-01", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if !meta.IsStatusConditionTrue(d.Status.Conditions, v1alpha1.ConditionDuplicateIdentity) || meta.IsStatusConditionTrue(d.Status.Conditions, status.ConditionAccessRevoked) {
			return fmt.Sprintf("%+v", d.Status.Conditions)
		}
		return ""
	})
}
