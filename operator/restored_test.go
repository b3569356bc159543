package operator_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator"
	"fleet.nationtech.io/operator/status"
	"fleet.nationtech.io/projections/archive"
)

// archived puts the log into a file.
func (w *world) archived() string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "fleet.archive")
	if _, err := archive.Create(w.t.Context(), w.nc, path, archive.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// restored loses all that NATS has, and gets the log back from a file.
func (w *world) restored(path string) logstream.Info {
	w.t.Helper()
	for name := range w.js.StreamNames(w.t.Context()).Name() {
		if err := w.js.DeleteStream(w.t.Context(), name); err != nil {
			w.t.Fatal(err)
		}
	}
	out, err := archive.Restore(w.t.Context(), w.nc, path, archive.RestoreOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Log
}

// reconciled waits until devices may be told of a restored log.
func (w *world) reconciled() {
	w.t.Helper()
	eventually(w.t, "the restored log is reconciled", func() string {
		info, err := logstream.Inspect(w.t.Context(), w.js)
		if err != nil {
			return err.Error()
		}
		if info.Restored.Pending() || info.Restored.Sequence == 0 {
			return fmt.Sprintf("%+v", info)
		}
		return ""
	})
}

// since lists what operators appended after a sequence.
func (w *world) since(last uint64) []string {
	w.t.Helper()
	var got []string
	for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{From: last + 1}) {
		if err != nil {
			w.t.Fatal(err)
		}
		if !e.Address.Family.OfDevices() {
			got = append(got, strings.TrimSpace(string(e.Type)+" "+strings.Trim(e.Address.Device+" "+e.Address.Namespace+"/"+e.Address.Name+e.Address.Deployment, " /")))
		}
	}
	return got
}

func TestAfterARestoreNothingIsDueThatWasNotBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.operate()
	w.logged()
	pi := w.device("pi-01", map[string]string{"site": "lab"})
	w.device("pi-02", map[string]string{"site": "lab"})
	ns := w.api.Namespace(t)
	for _, id := range []string{"pi-01", "pi-02"} {
		w.shows(id, map[string]string{"site": "lab"})
	}
	pool := "gold"
	w.label("pi-01", "pool", &pool, "kubectl-label")
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	w.apply(deployment(ns, "gold", "app:1", map[string]string{"pool": "gold"}))
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	w.ready(ns, "gold", v1alpha1.ReasonAllSucceeded)
	w.completed(ns, "web", "gold")
	op.stop()
	path := w.archived()
	lives, value := pi.live.Load(), w.desired("pi-01.web")
	log := w.restored(path)

	w.operate()
	w.reconciled()
	pi.info() // as an agent does once it notices another log
	pi.report("web", eventlog.PhaseRunning, eventlog.Hash([]byte(value)), "")
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	w.ready(ns, "gold", v1alpha1.ReasonAllSucceeded)
	if diff := cmp.Diff([]string{"leader.elected"}, w.since(log.Last)); diff != "" {
		t.Errorf("appended after the restore (-want +got):\n%s", diff)
	}
	if n := pi.live.Load(); n != lives {
		t.Errorf("the device was sent %d live messages", n-lives)
	}
	if got := w.desired("pi-01.web"); got != value {
		t.Errorf("desired state %q, was %q", got, value)
	}
}

// completed waits until the rollouts are over in the log.
func (w *world) completed(ns string, names ...string) {
	w.t.Helper()
	for _, name := range names {
		eventually(w.t, "the rollout of "+name+" is completed", func() string {
			if got := w.told(eventlog.FamilyDeployment); !slices.Contains(got, "rollout.completed "+ns+"/"+name) {
				return fmt.Sprint(got)
			}
			return ""
		})
	}
}

// heard is what a device is told over time, live and by answers to sync.
type heard struct {
	w       *world
	id      string
	nonce   int
	refused map[string]int
	values  map[string]map[string]bool // by Deployment: hashes, or "removed"
}

// ask syncs once.
func (h *heard) ask() (whole bool) {
	h.nonce++
	nonce := fmt.Sprintf("nonce-%08d", h.nonce)
	sub, err := h.w.nc.SubscribeSync(h.w.nc.NewRespInbox())
	if err != nil {
		h.w.t.Fatal(err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection closes with the test
	err = h.w.nc.PublishMsg(&nats.Msg{Subject: eventlog.SyncSubject(h.id), Reply: sub.Subject, Header: nats.Header{"Fleet-Sync": {nonce}}})
	if err != nil {
		h.w.t.Fatal(err)
	}
	for {
		m, err := sub.NextMsg(5 * time.Second)
		switch {
		case err != nil || m.Header.Get("Status") == "503":
			h.refused["nobody"]++
			return false
		case m.Header.Get("Fleet-Sync-Error") != "":
			h.refused[m.Header.Get("Fleet-Sync-Error")]++
			return false
		case m.Header.Get("Fleet-Sync-End") != "":
			return true
		}
		_, name, _ := strings.Cut(m.Header.Get("Fleet-Key"), ".")
		h.take(name, m)
	}
}

func (h *heard) take(name string, m *nats.Msg) {
	if h.values[name] == nil {
		h.values[name] = map[string]bool{}
	}
	what := eventlog.Hash(m.Data)
	if eventlog.IsRemoval(m.Header) {
		what = "removed"
	}
	h.values[name][what] = true
}

// Guarantee: whatever happened after the archive was made, no device is told the
// archive's older truth while Kubernetes has the newer one.
func TestAnArchiveThatIsOlderThanTheFleetTakesNothingBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.operate()
	w.logged()
	pi := w.device("pi-01", map[string]string{"site": "lab"})
	ns := w.api.Namespace(t)
	w.shows("pi-01", map[string]string{"site": "lab"})
	site := map[string]string{"site": "lab"}
	w.apply(deployment(ns, "web", "app:1", site))
	w.apply(deployment(ns, "old", "app:1", site))
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	w.ready(ns, "old", v1alpha1.ReasonAllSucceeded)
	// Long before, there was a Deployment "back", which was withdrawn.
	if _, err := appender.Unfenced(t.Context(), w.js, "test", eventlog.Draft{
		Subject: eventlog.DesiredSubject("pi-01", "back"), Type: eventlog.DesiredWithdrawn, Time: time.Now().Add(-time.Hour), Namespace: ns, Revision: 1,
	}); err != nil {
		t.Fatal(err)
	}
	path := w.archived()

	w.setImage(ns, "web", "app:2")
	for _, name := range []string{"new", "back"} {
		w.apply(deployment(ns, name, "app:1", site))
		w.ready(ns, name, v1alpha1.ReasonAllSucceeded)
	}
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	if err := w.fleet.FleetV1alpha1().Deployments(ns).Delete(t.Context(), "old", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "old is gone", func() string {
		_, err := w.fleet.FleetV1alpha1().Deployments(ns).Get(t.Context(), "old", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return ""
		}
		return fmt.Sprint(err)
	})
	op.stop()
	runs := map[string]string{}
	for _, name := range []string{"web", "new", "back"} {
		runs[name] = eventlog.Hash([]byte(w.desired("pi-01." + name)))
	}
	pi.mute.Store(true)
	w.restored(path)

	// What the agent had not got rid of comes first.
	pi.info()
	for name, hash := range runs {
		pi.report(name, eventlog.PhaseRunning, hash, "")
	}
	pi.report("stray", eventlog.PhaseRunning, "sha256:0", "")
	h := &heard{w: w, id: "pi-01", refused: map[string]int{}, values: map[string]map[string]bool{}}
	live, err := w.nc.SubscribeSync(eventlog.LiveSubject("pi-01", "*"))
	if err != nil {
		t.Fatal(err)
	}
	h.ask() // before anybody can answer: no answer of theirs is missed
	w.operate()
	w.operate(func(o *operator.Options) { o.Identity = "op-2" })
	eventually(t, "the device is answered", func() string {
		if !h.ask() {
			return fmt.Sprint(h.refused)
		}
		return ""
	})
	for range 50 { // by either replica
		h.ask()
	}
	for {
		m, err := live.NextMsg(200 * time.Millisecond)
		if err != nil {
			break
		}
		_, name, _ := eventlog.ParseDesiredKV(m.Header.Get("Nats-Subject"))
		h.take(name, m)
	}
	for name, hash := range runs {
		if got := h.values[name]; !cmp.Equal(got, map[string]bool{hash: true}) {
			t.Errorf("%s: the device was told %v, and runs %s", name, got, hash)
		}
	}
	if h.refused[eventlog.SyncRestored]+h.refused["nobody"]+h.refused[eventlog.SyncNotReady] == 0 {
		t.Errorf("the first question was answered: the test proves nothing (%v)", h.refused)
	}
	if got := h.values["stray"]; got != nil {
		t.Errorf("stray: the device was told %v", got)
	}
	w.warned("DeploymentOrphaned", ns+"/old")
	eventually(t, "the unknown is shown", func() string {
		d, err := w.fleet.FleetV1alpha1().Devices().Get(t.Context(), "pi-01", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(d.Status.Conditions, status.ConditionUnknownDeployments)
		if c == nil || c.Status != metav1.ConditionTrue || c.Reason != status.ReasonNeverAssigned || !contains(c.Message, "the device reports stray, which") {
			return fmt.Sprintf("%+v", d.Status.Conditions)
		}
		return ""
	})
}

// An operator that runs makes an empty log where there is none. As long as it has
// nothing to decide, that gives way to an archive; the operator goes on with it.
func TestAnOperatorThatRunsGoesOnWithALogThatIsRestoredUnderIt(t *testing.T) {
	t.Parallel()
	first := newWorld(t)
	op := first.operate()
	first.logged()
	first.device("pi-01", map[string]string{"site": "lab"})
	ns := first.api.Namespace(t)
	first.shows("pi-01", map[string]string{"site": "lab"})
	first.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	first.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	op.stop()
	path := first.archived()
	first.forceOff(ns, "web")
	if err := first.fleet.FleetV1alpha1().Devices().Delete(t.Context(), "pi-01", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}

	w := newWorld(t) // NATS was lost as well, and the operator is there already
	w.api, w.fleet = first.api, first.fleet
	w.operate(func(o *operator.Options) { o.Identity = "eager" })
	eventually(t, "it is elected in an empty log", func() string {
		if _, err := logstream.Inspect(t.Context(), w.js); err != nil {
			return err.Error()
		}
		if got := w.told(eventlog.FamilyLeader); len(got) != 1 {
			return fmt.Sprint(got)
		}
		return ""
	})
	out, err := archive.Restore(t.Context(), w.nc, path, archive.RestoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.reconciled()
	w.warned("DeploymentOrphaned", ns+"/web")
	w.device("pi-02", map[string]string{"site": "lab"})
	eventually(t, "it decides", func() string {
		got := w.since(out.Last.Sequence)
		if !slices.Contains(got, "device.registered pi-02") || slices.Index(got, "leader.elected") != 0 {
			return fmt.Sprint(got)
		}
		return ""
	})
	w.assigned("pi-01", "web", true)
}
