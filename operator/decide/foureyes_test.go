package decide_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// stamps are the annotations of a CR as the API server's policies leave them.
func stamps(author, promote, promoter string) crOption {
	return func(d *v1alpha1.Deployment) {
		d.Annotations = map[string]string{}
		for key, value := range map[string]string{
			v1alpha1.AnnotationAuthoredBy: author, v1alpha1.AnnotationPromote: promote, v1alpha1.AnnotationPromotedBy: promoter,
		} {
			if value != "" {
				d.Annotations[key] = value
			}
		}
	}
}

// A batch with fourEyes goes on by the annotation alone, if another person set it than
// changed the score or the rollout last, and both names are the API server's.
func TestABatchWithFourEyesGoesOnByAnotherPersonAlone(t *testing.T) {
	t.Parallel()
	const fourEyes = `{"batches":[{"size":1,"soak":"0s","approval":"Manual","fourEyes":true},{"soak":"0s"}],"maxUnavailable":"100%"}`
	const manual = `{"batches":[{"size":1,"soak":"0s","approval":"Manual"},{"soak":"0s"}],"maxUnavailable":"100%"}`
	for name, tt := range map[string]struct {
		settings         string
		author, promoter string
		promote          func(present string) string // what the annotation says
		passes           bool
		why              string
	}{
		"another person":                         {fourEyes, "alice", "bob", present, true, ""},
		"the author":                             {fourEyes, "alice", "alice", present, false, "another person has to"},
		"nobody that the API server knows":       {fourEyes, "alice", "", present, false, "promoted-by.fleet.nationtech.io must be in force"},
		"an author whom nobody knows":            {fourEyes, "", "bob", present, false, "authored-by.fleet.nationtech.io must be in force"},
		"another revision":                       {fourEyes, "alice", "bob", func(p string) string { return "1" + p }, false, ""},
		"another batch":                          {fourEyes, "alice", "bob", func(p string) string { return p + "1" }, false, ""},
		"what is no promotion":                   {fourEyes, "alice", "bob", func(string) string { return "yes" }, false, ""},
		"a number that is too large":             {fourEyes, "alice", "bob", func(p string) string { return p + strings.Repeat("0", 40) }, false, ""},
		"the author, where one person is enough": {manual, "alice", "alice", present, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShow(t, 3)
			s.nature["app:2"] = eventlog.PhaseRunning
			s.apply("app:1", tt.settings, stamps("alice", "", ""))
			s.pass(time.Minute)
			s.promoted(t, tt.settings, "app:1", "carol") // it is a first revision with batches
			s.apply("app:2", tt.settings, stamps(tt.author, "", ""))
			s.pass(time.Minute)
			d := s.View().Deployments[key("a/web")]
			if d.Run.Batch != 1 || !d.Run.Passed || given(d, 2) != 1 {
				t.Fatalf("batch %d, passed %v, %d given: the test proves nothing", d.Run.Batch, d.Run.Passed, given(d, 2))
			}
			said := tt.promote(fmt.Sprintf("%d.%d.%d", d.Spec.Revision, d.Run.ID, d.Run.Batch))
			put := cr("a", "web", "app:2", site, generation(s.gen), withRollout(tt.settings), stamps(tt.author, said, tt.promoter))
			if _, why := decide.SpecOf(put).Promotes(d, tt.settings == fourEyes); !strings.Contains(why, tt.why) || (why == "") != (tt.why == "") {
				t.Errorf("it does not count because %q, want %q", why, tt.why)
			}
			s.settle(s.put(put))
			s.pass(time.Minute)
			if completed := d.Run.Phase == fleet.PhaseCompleted; completed != tt.passes {
				t.Errorf("phase %s, batch %d; want completed %v", d.Run.Phase, d.Run.Batch, tt.passes)
			}
			if !tt.passes {
				return
			}
			var actors []string
			for _, e := range s.log {
				if e.Type == eventlog.RolloutPromoted {
					actors = append(actors, e.Actor)
				}
			}
			if diff := cmp.Diff([]string{"carol", tt.promoter}, actors); diff != "" {
				t.Errorf("who promoted, once each (-want +got):\n%s", diff)
			}
		})
	}
}

func present(p string) string { return p }

// promoted lets the open batch go on by the annotation.
func (s *show) promoted(t *testing.T, settings, image, by string) {
	t.Helper()
	d := s.View().Deployments[key("a/web")]
	s.settle(s.put(cr("a", "web", image, site, generation(s.gen), withRollout(settings),
		stamps("alice", fmt.Sprintf("%d.%d.%d", d.Spec.Revision, d.Run.ID, d.Run.Batch), by))))
	s.pass(time.Minute)
	if d.Run.Phase != fleet.PhaseCompleted {
		t.Fatalf("phase %s", d.Run.Phase)
	}
}

// A person of NATS passes no batch that wants two persons of Kubernetes, and skips none.
func TestARequestPassesNoBatchWithFourEyes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		settings string
		full     bool
	}{
		"the open one": {`{"batches":[{"size":1,"soak":"0s","approval":"Manual","fourEyes":true},{"soak":"0s"}]}`, false},
		"a later one, by letting all the rest go": {`{"batches":[{"size":1,"soak":"0s","approval":"Manual"},{"size":2,"soak":"0s","approval":"Manual","fourEyes":true},{"soak":"0s"}]}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShow(t, 3)
			s.apply("app:1", tt.settings, stamps("alice", "", ""))
			s.pass(time.Minute)
			d := s.View().Deployments[key("a/web")]
			s.tell(eventlog.RequestSubject("bob", "a", "web"), eventlog.RequestMade, eventlog.Request{
				Verb: eventlog.RequestPromote, Revision: d.Spec.Revision, Run: d.Run.ID, Batch: d.Run.Batch, Full: tt.full,
			})
			s.pass(time.Minute)
			last := s.log[len(s.log)-1]
			if last.Type != eventlog.RolloutRequestRefused || !strings.Contains(string(last.Data), decide.ReasonFourEyes) || d.Run.Batch != 1 {
				t.Errorf("%s %s, batch %d", last.Type, last.Data, d.Run.Batch)
			}
		})
	}
}
