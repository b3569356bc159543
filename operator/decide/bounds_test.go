package decide_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// scoreOf gives a CR a score of that many bytes as canonical JSON.
func scoreOf(bytes int) crOption {
	return func(d *v1alpha1.Deployment) {
		rawScore(`{"x":""}`)(d)
		empty := len(decide.SpecOf(d).Score)
		rawScore(fmt.Sprintf(`{"x":%q}`, strings.Repeat("s", bytes-empty)))(d)
	}
}

func rawScore(data string) crOption {
	return func(d *v1alpha1.Deployment) { d.Spec.Score.Data = v1alpha1.ScoreData{Raw: []byte(data)} }
}

func valuesOf(bytes int) crOption {
	return func(d *v1alpha1.Deployment) {
		var values []string
		for n := 0; n < bytes; n += 66 {
			values = append(values, fmt.Sprintf("%063d", n))
		}
		expression("site", metav1.LabelSelectorOpIn, values...)(d)
	}
}

// pinsOf gives a CR a rollout of about that many bytes as JSON.
func pinsOf(bytes int) crOption {
	return func(d *v1alpha1.Deployment) {
		pin := &metav1.LabelSelector{MatchLabels: map[string]string{}}
		for n := 0; n < bytes-100; n += 70 {
			pin.MatchLabels[fmt.Sprintf("%063d", n)] = "v"
		}
		d.Spec.Rollout.Batches = []v1alpha1.RolloutBatch{{Selector: pin}, {}}
	}
}

// Whatever the API server takes of a CR, each event that follows from it fits into
// the log: what is copied is bounded, or the CR is refused with a reason.
func TestEveryEventOfALegalDeploymentFitsIntoTheLog(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("\x01", 253<<10) // six bytes each as JSON
	for name, opts := range map[string][]crOption{
		"a change-cause of 253 KiB":                        {because(longest)},
		"the largest score, and a change-cause of 60 KiB":  {scoreOf(v1alpha1.MaxScoreBytes), because(strings.Repeat("c", 60<<10))},
		"all parts as large as they may be":                {scoreOf(v1alpha1.MaxScoreBytes), because(longest), stamped(longest), valuesOf(decide.MaxSelector - 600), pinsOf(decide.MaxRollout - 100)},
		"a score that is a byte too large":                 {scoreOf(v1alpha1.MaxScoreBytes + 1), because(longest), stamped(longest)},
		"a selector of half a megabyte":                    {valuesOf(500 << 10)},
		"pins of 60 KiB":                                   {pinsOf(60 << 10)},
		"a number that canonical JSON does not have":       {rawScore(`{"n":9007199254740993}`)},
		"a key of the score that is as long as it may get": {rawScore(fmt.Sprintf(`{%q:9007199254740993}`, strings.Repeat("k", 1<<20)))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			due := w.settle(w.label("pi-01", "site", fmt.Sprintf("%063d", 0)), w.put(cr("a", "web", "app:1", nil, opts...)))
			if len(due) < 2 {
				t.Fatalf("due %v: the test proves nothing", told(due))
			}
			for _, d := range due {
				m := d.Message("operator", strings.Repeat("I", 26))
				n := len(m.Data)
				for k, vs := range m.Header {
					n += len(k) + len(vs[0]) + 4
				}
				if n > logstream.MaxMessageBytes-1024 { // the fence and the end of the header
					t.Errorf("%s is %d bytes", d.Type, n)
				}
			}
		})
	}
}

func TestAClippedChangeCauseSaysSoAndIsAppliedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	why := strings.Repeat("ä", 100<<10)
	w.settle(w.put(cr("a", "web", "app:1", site, because(why))))
	got := w.View().Deployments[key("a/web")].Spec.ChangeCause
	if len(got) > decide.MaxChangeCause || !utf8.ValidString(got) || !strings.HasPrefix(got, "ää") ||
		!strings.HasSuffix(got, fmt.Sprintf("(clipped by the operator; the annotation has %d bytes)", len(why))) {
		t.Errorf("%d bytes, which end with %q", len(got), got[max(0, len(got)-80):])
	}
	if again := w.settle(w.put(cr("a", "web", "app:1", site, because(got)))); len(again) > 0 {
		t.Errorf("applied again with what the log has of it: %v", told(again))
	}
}

// What the log cannot hold it is told of once, with what to do; what runs stays.
func TestASpecThatTheLogCannotHoldIsRefusedInTheLogUntilItChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refused := func() *eventlog.Refusal { return w.View().Deployments[key("a/web")].Refused }
	w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
	large := w.put(cr("a", "web", "app:2", site, generation(2), scoreOf(v1alpha1.MaxScoreBytes+1)))
	if diff := cmp.Diff([]string{"deployment.refused deployment.a.web"}, told(w.settle(large, large))); diff != "" {
		t.Fatalf("too large (-want +got):\n%s", diff)
	}
	if r := refused(); r == nil || r.Reason != v1alpha1.ReasonTooLarge || r.Generation != 2 || !strings.Contains(r.Message, "204801 bytes") {
		t.Errorf("refused: %+v", r)
	}
	if diff := cmp.Diff(map[string]string{"pi-01.web": "a"}, w.assignments()); diff != "" {
		t.Errorf("assigned (-want +got):\n%s", diff)
	}
	w.settle(w.put(cr("a", "web", "app:1", site, generation(3))))
	if r := refused(); r != nil {
		t.Errorf("put right, and still refused: %+v", r)
	}
	w.settle(w.put(cr("a", "web", "app:2", site, generation(4), scoreOf(v1alpha1.MaxScoreBytes+1))))
	w.settle(w.put(cr("a", "web", "app:2", site, generation(5), deleting)))
	if r := refused(); r != nil || !w.Ended(key("a/web")) {
		t.Errorf("deleted: refused %+v, ended %v", r, w.Ended(key("a/web")))
	}
}

// A CR that was never anything but refused leaves nothing behind.
func TestADeploymentThatWasOnlyEverRefusedGoesFromTheLogWithItsCR(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]func(*world) decide.Input{
		"deleted": func(w *world) decide.Input { return w.put(cr("a", "web", "app:1", site, deleting)) },
		"simply gone": func(w *world) decide.Input {
			w.RemoveDeployment(key("a/web"))
			return decide.OfDeployment(key("a/web"))
		},
		"made again, and deleted": func(w *world) decide.Input { return w.put(cr("a", "web", "app:1", site, deleting, uid("another"))) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.settle(w.put(cr("a", "web", "app:1", site, scoreOf(v1alpha1.MaxScoreBytes+1))))
			if diff := cmp.Diff([]string{"deployment.deleted deployment.a.web"}, told(w.settle(gone(w)))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if d := w.View().Deployments[key("a/web")]; d.Refused != nil || d.Lifecycle != fleet.Deleted {
				t.Errorf("the log has it as %q, refused %v", d.Lifecycle, d.Refused)
			}
		})
	}
}

func TestLabelsThatTheLogCannotHoldAreRefusedAndNothingChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
	kv := []string{"site", "lab"}
	for i := range 3000 {
		kv = append(kv, fmt.Sprintf("example.com/key-%d", i), "x")
	}
	_, err := decide.Decide(w.State, w.label("pi-01", kv...), now)
	var p *decide.Problem
	if !errors.As(err, &p) || p.Reason != v1alpha1.ReasonTooLarge || !strings.Contains(p.Message, "remove some") {
		t.Fatalf("error %v", err)
	}
	if diff := cmp.Diff(map[string]string{"pi-01.web": "a"}, w.assignments()); diff != "" {
		t.Errorf("assigned (-want +got):\n%s", diff)
	}
	if due := w.settle(w.label("pi-01", "site", "lab", "zone", "1")); len(due) != 1 {
		t.Errorf("put right: %v", told(due))
	}
}

// An id that a person chose for a request becomes the cause of an end: it may not
// make that too large for a header.
func TestAnOverlongIDOfARequestDoesNotStopTheWithdrawal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settle(w.put(cr("a", "web", "app:1", site)))
	w.RemoveDeployment(key("a/web"))
	w.settle(decide.OfDeployment(key("a/web")))
	d, err := eventlog.NewDraft(eventlog.RequestSubject("ada", "a", "web"), eventlog.RequestMade, now, eventlog.Request{Verb: eventlog.RequestWithdraw})
	if err != nil {
		t.Fatal(err)
	}
	m := d.Message("test", strings.Repeat("I", 200<<10))
	e, err := eventlog.Decode(m.Subject, m.Header, m.Data, w.seq+1, now)
	w.seq++
	fleet.Apply(w.View(), e, err)
	due := w.settle(decide.OfDeployment(key("a/web")))
	if len(due) != 1 || due[0].Type != eventlog.DeploymentDeleted || due[0].CausationID != fmt.Sprintf("event@%d", e.Sequence) {
		t.Errorf("due %v, caused by %.40q", told(due), due[0].CausationID)
	}
}
