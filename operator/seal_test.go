package operator_test

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/operator"
	"fleet.nationtech.io/projections/seal"
	"fleet.nationtech.io/projections/verify"
)

// Over restarts the log is sealed by the key of the Secret, and holds.
func TestTheLogIsSealedByTheKeyOfTheSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sealed := func(o *operator.Options) { o.SealEvents, o.SealInterval = 20, 300*time.Millisecond }
	for round := range 2 {
		op := w.operate(sealed)
		w.logged()
		d := w.device(fmt.Sprintf("pi-%d", round), map[string]string{"site": "lab"})
		d.info()
		for range 30 {
			d.report("ghost", eventlog.PhaseRunning, "", "")
		}
		reports := uint64(30 * (round + 1))
		eventually(t, "the log is sealed", func() string {
			if got, last := op.metric(t, "fleet_operator_sealed_sequence"), w.lastSequence(); last < reports || got < float64(reports) {
				return fmt.Sprintf("up to %v of %d", got, last)
			}
			return ""
		})
		op.stop()
	}
	core, err := kubernetes.NewForConfig(w.api.Config)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := core.CoreV1().Secrets(operator.DefaultNamespace).Get(t.Context(), "fleet-seal-key", metav1.GetOptions{})
	if err != nil || len(secret.Data["seed"]) == 0 {
		t.Fatalf("the Secret: %v, %v", secret, err)
	}
	r, err := verify.Run(t.Context(), w.js, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Differences() != 0 || r.Seals.Checked < 2 || r.Seals.Held != r.Seals.Checked || len(r.Seals.Keys) != 1 {
		t.Errorf("seals %+v, found %+v", r.Seals, r.Findings)
	}
	if keys, err := seal.ParseKeys(r.Seals.Keys[0]); err != nil || len(keys) != 1 {
		t.Errorf("the key %v: %v", r.Seals.Keys, err)
	}
}

func (w *world) lastSequence() uint64 {
	w.t.Helper()
	info, err := logstream.Inspect(w.t.Context(), w.js)
	if err != nil {
		w.t.Fatal(err)
	}
	return info.Last
}
