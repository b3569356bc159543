package eventlog_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
)

// outdated is a version of a type that is not written any more.
type outdated struct {
	read   func(eventlog.Event) (any, error)
	want   any    // what reading its golden file gives today
	filled string // a field that its bytes do not have, and that reading fills in; empty: none
}

// older has each version that is not written any more. Files and entries stay for
// ever; -update does not touch them.
func older() map[string]outdated {
	applied := examples()[eventlog.DeploymentApplied].payload.(eventlog.Deployment)
	applied.RequestedBy = eventlog.Requester{Name: "ada", By: eventlog.RequestedByFieldManager} // by the actor in the header
	rollout := eventlog.Rollout{Revision: 2, Strategy: eventlog.StrategyImmediate, Devices: 3, Reason: "Test"}
	started := rollout
	started.Kind = eventlog.RunImmediate
	m := map[string]outdated{
		"deployment.applied.v1.json": {readAs[eventlog.Deployment], applied, "requested_by"},
		"request.made.v1.json":       {readAs[eventlog.Request], eventlog.Request{Verb: eventlog.RequestWithdraw, Reason: "closed"}, ""},
		"rollout.started.v1.json":    {readAs[eventlog.Rollout], started, "kind"},
	}
	for _, t := range []eventlog.Type{
		eventlog.RolloutBatchStarted, eventlog.RolloutBatchSucceeded, eventlog.RolloutPaused, eventlog.RolloutResumed,
		eventlog.RolloutStalled, eventlog.RolloutAborted, eventlog.RolloutRolledBack, eventlog.RolloutCompleted,
	} {
		m[string(t)+".v1.json"] = outdated{readAs[eventlog.Rollout], rollout, ""}
	}
	return m
}

func readAs[T any](e eventlog.Event) (any, error) { return eventlog.Payload[T](e) }

// Whatever the version of an event, a reader gets the newest shape.
func TestAnOlderVersionIsReadInTheNewestShape(t *testing.T) {
	t.Parallel()
	outdated, seen := older(), 0
	for _, typ := range eventlog.Types() {
		for v := 1; v < typ.Version(); v++ {
			seen++
			file := goldenFile(typ, v)
			old, ok := outdated[filepath.Base(file)]
			if !ok {
				t.Errorf("%s: nobody reads it here", file)
				continue
			}
			e := readGolden(t, file)
			if e.Type != typ || e.Version != v {
				t.Errorf("%s: type %s version %d", file, e.Type, e.Version)
			}
			got, err := old.read(e)
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			if diff := cmp.Diff(old.want, got); diff != "" {
				t.Errorf("%s (-the newest shape +what is read):\n%s", file, diff)
			}
			line, err := eventlog.CloudEventJSON(e, nil)
			asItLies := strings.Contains(string(line), eventlog.CloudEventType(typ, v)) &&
				(old.filled == "" || !strings.Contains(string(line), `"`+old.filled+`":`))
			if err != nil || !asItLies {
				t.Errorf("outside it is not as it lies in the log: %s, %v", line, err)
			}
		}
	}
	if seen == 0 || seen != len(outdated) {
		t.Errorf("%d versions are not written any more, and %d are read here", seen, len(outdated))
	}
}

func TestEveryGoldenFileIsOfAVersionThatIsKnown(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, typ := range eventlog.Types() {
		for v := 1; v <= typ.Version(); v++ {
			known[filepath.Base(goldenFile(typ, v))] = true
		}
	}
	files, err := os.ReadDir(filepath.Join("testdata", "golden"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !known[f.Name()] {
			t.Errorf("%s is of no version that is known", f.Name())
		}
		delete(known, f.Name())
	}
	for name := range known {
		t.Errorf("%s is missing", name)
	}
}

func applied(t *testing.T, version int, actor, data string) eventlog.Event {
	t.Helper()
	h := nats.Header{eventlog.HeaderType: {eventlog.CloudEventType(eventlog.DeploymentApplied, version)}}
	if actor != "" {
		h[eventlog.HeaderActor] = []string{actor}
	}
	e, err := eventlog.Decode(eventlog.DeploymentSubject("shop", "web"), h, []byte(data), 7, at)
	if err == nil {
		err = eventlog.Check(e)
	}
	if err != nil {
		t.Fatalf("an event of version %d: %v", version, err)
	}
	return e
}

func TestWhoAskedIsReadFromEveryVersion(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		version int
		actor   string
		data    string
		want    eventlog.Requester
	}{
		"version 1 without an actor": {1, "", `{"uid":"u"}`, eventlog.Requester{By: eventlog.RequestedByUnknown}},
		"version 1 with an actor":    {1, "kubectl", `{"uid":"u"}`, eventlog.Requester{Name: "kubectl", By: eventlog.RequestedByFieldManager}},
		"version 2":                  {2, "kubectl", `{"uid":"u","requested_by":{"name":"ada","by":"admission"}}`, eventlog.Requester{Name: "ada", By: eventlog.RequestedByAdmission}},
		"version 3 that says more":   {3, "", `{"uid":"u","requested_by":{"name":"ada","by":"oath","sworn":true},"tags":[1]}`, eventlog.Requester{Name: "ada", By: "oath"}},
		"version 3 that says less":   {3, "", `{"uid":"u"}`, eventlog.Requester{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := eventlog.Payload[eventlog.Deployment](applied(t, tt.version, tt.actor, tt.data))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(eventlog.Deployment{UID: "u", RequestedBy: tt.want}, d); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A version from the future is read as far as it goes; what cannot be read is
// newer, and no foreign message.
func TestANewerVersionIsNoForeignMessage(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"a field of another kind": `{"uid":{"of":"u"},"revision":"two"}`,
		"no object":               `["u"]`,
		"no JSON":                 "\x00\x01",
		"nothing":                 "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := applied(t, 3, "", data)
			_, err := eventlog.Payload[eventlog.Deployment](e)
			if !errors.Is(err, eventlog.ErrNewer) || errors.Is(err, eventlog.ErrForeign) {
				t.Errorf("got %v, want %v", err, eventlog.ErrNewer)
			}
			line, err := eventlog.CloudEventJSON(e, nil)
			if err != nil || !json.Valid(line) || !strings.Contains(string(line), "deployment.applied.v3") {
				t.Errorf("as CloudEvents JSON: %s, %v", line, err)
			}
		})
	}
}

// A device cannot make its reports pass by a version: a bucket's values have one
// shape.
func TestABucketsValueIsForeignInWhateverVersion(t *testing.T) {
	t.Parallel()
	h := nats.Header{eventlog.HeaderType: {eventlog.CloudEventType(eventlog.StateReported, 9)}}
	e, err := eventlog.Decode(eventlog.StateSubject("pi-01", "web"), h, []byte(`[]`), 7, at)
	if err == nil {
		err = eventlog.Check(e)
	}
	if !errors.Is(err, eventlog.ErrForeign) {
		t.Errorf("got %v, want %v", err, eventlog.ErrForeign)
	}
}

// The score within deployment.applied is the very bytes that score_hash speaks
// of, also where version 1 wrote some of them as escapes.
func TestAScoreInTheLogHasTheBytesOfItsHash(t *testing.T) {
	t.Parallel()
	score, err := eventlog.Score{Type: "PodmanV0", Data: json.RawMessage(`{"services":[{"name":"main","image":"a","args":["a && b > c < \u2028d"]}]}`)}.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	p := eventlog.Deployment{UID: "u", Score: score, ScoreHash: eventlog.Hash(score)}
	newest, err := eventlog.NewDraft(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentApplied, at, p)
	if err != nil {
		t.Fatal(err)
	}
	escaped, err := json.Marshal(p) // as version 1 was written
	if err != nil {
		t.Fatal(err)
	}
	for version, data := range map[int]string{1: string(escaped), 2: string(newest.Data)} {
		d, err := eventlog.Payload[eventlog.Deployment](applied(t, version, "", data))
		if err != nil {
			t.Fatal(err)
		}
		if eventlog.Hash(d.Score) != d.ScoreHash {
			t.Errorf("version %d: score %s has another hash than %s", version, d.Score, score)
		}
	}
}
