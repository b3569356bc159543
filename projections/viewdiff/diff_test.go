package viewdiff_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/viewdiff"
)

// told folds events into a view, from a sequence on.
type told struct {
	t    *testing.T
	view *fleet.View
}

func (w told) say(subject string, kind eventlog.Type, payload any) {
	w.t.Helper()
	var data []byte
	if !kind.Removes() {
		var err error
		if data, err = json.Marshal(payload); err != nil {
			w.t.Fatal(err)
		}
	}
	a, err := eventlog.ParseSubject(subject)
	if err != nil {
		w.t.Fatal(err)
	}
	seq := w.view.Sequence + 1
	at := time.Date(2026, 11, 24, 14, 0, 0, 0, time.UTC).Add(time.Duration(seq) * time.Second)
	e := eventlog.Event{Sequence: seq, Recorded: at, Time: at, Subject: subject, Address: a, Type: kind, Version: 1, ID: fmt.Sprint(seq), Data: data}
	if a.Family == eventlog.FamilyDesired {
		e.Namespace, e.Revision = "shop", w.view.Deployments[fleet.Key{Namespace: "shop", Name: a.Deployment}].Spec.Revision
	}
	fleet.Apply(w.view, e, nil)
}

func (w told) apply(revision uint64, image, site string) {
	w.t.Helper()
	score := score(image)
	w.say(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentApplied, eventlog.Deployment{
		UID: "u", Generation: int64(revision), Revision: revision, Score: score, ScoreHash: eventlog.Hash(score),
		Selector: eventlog.Selector{MatchLabels: map[string]string{"site": site}},
	})
}

func (w told) assign(device, image string) {
	w.t.Helper()
	w.say(eventlog.DesiredSubject(device, "web"), eventlog.DesiredAssigned, score(image))
}

func (w told) report(device string, phase eventlog.Phase, reason string) {
	w.t.Helper()
	s := eventlog.DeploymentState{DeviceID: device, Deployment: "web", Phase: phase, Reason: reason, Revision: 1}
	w.say(eventlog.StateSubject(device, "web"), eventlog.StateReported, s)
}

func (w told) info(device, version string) {
	w.t.Helper()
	w.say(eventlog.InfoSubject(device), eventlog.InfoReported, eventlog.DeviceInfo{DeviceID: device, Inventory: eventlog.Inventory{AgentVersion: version}})
}

func score(image string) json.RawMessage {
	return json.RawMessage(`{"data":{"services":[{"image":"` + image + `","name":"web"}]},"type":"PodmanV0"}`)
}

// words makes a change one line.
func words(cs []viewdiff.Change) []string {
	var out []string
	for _, c := range cs {
		line := fmt.Sprintf("%s %s %s/%s %s", c.Change, c.About, c.Namespace, c.Deployment, c.Device)
		for _, f := range c.Fields {
			line += fmt.Sprintf(" %s:%s>%s", f.Path, f.Before, f.After)
		}
		out = append(out, line)
	}
	return out
}

func TestBetween(t *testing.T) {
	t.Parallel()
	start := func(w told) {
		w.info("pi-01", "v1")
		w.apply(1, "app:1", "lab")
		w.assign("pi-01", "app:1")
		w.report("pi-01", eventlog.PhaseRunning, "")
	}
	tests := map[string]struct {
		before, then func(told)
		want         []string
	}{
		"nothing happened": {before: start, then: func(told) {}},
		"the same was said again": {before: start, then: func(w told) {
			w.info("pi-01", "v1")
			w.report("pi-01", eventlog.PhaseRunning, "")
		}},
		"from the beginning, all is added": {before: func(told) {}, then: start, want: []string{
			`added deployment shop/web  lifecycle:>"Applied" revision:>1 selector:>{"matchLabels":{"site":"lab"}} ` +
				`score:>{"data":{"services":[{"image":"app:1","name":"web"}]},"type":"PodmanV0"} status.matched:>1 status.succeeded:>1`,
			`added device / pi-01 inventory:>` + inventory("v1"),
			`added assignment shop/web pi-01 revision:>1 score_hash:>"` + eventlog.Hash(score("app:1")) + `"`,
			`added state shop/web pi-01 phase:>"Running" revision:>1`,
		}},
		"a new revision is told field by field, with what follows on its device": {before: start, then: func(w told) {
			w.apply(2, "app:2", "lab")
			w.assign("pi-01", "app:2")
			w.report("pi-01", eventlog.PhaseFailed, "ImagePullFailed")
		}, want: []string{
			`changed deployment shop/web  revision:1>2 score.data.services[web].image:"app:1">"app:2" status.succeeded:1>0 status.failed:0>1`,
			`changed assignment shop/web pi-01 revision:1>2 score_hash:"` + eventlog.Hash(score("app:1")) + `">"` + eventlog.Hash(score("app:2")) + `"`,
			`changed state shop/web pi-01 phase:"Running">"Failed" reason:>"ImagePullFailed"`,
		}},
		"a selector that moved": {before: start, then: func(w told) { w.apply(1, "app:1", "shop") }, want: []string{
			`changed deployment shop/web  selector.matchLabels.site:"lab">"shop"`,
		}},
		"a Deployment that ended, and was withdrawn": {before: start, then: func(w told) {
			w.say(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentDeleted, eventlog.DeploymentEnd{Reason: "Deleted"})
			w.say(eventlog.DesiredSubject("pi-01", "web"), eventlog.DesiredWithdrawn, nil)
			w.say(eventlog.StateSubject("pi-01", "web"), eventlog.StateCleared, nil)
		}, want: []string{
			`removed deployment shop/web  lifecycle:"Applied"> revision:1> selector:{"matchLabels":{"site":"lab"}}> ` +
				`score:{"data":{"services":[{"image":"app:1","name":"web"}]},"type":"PodmanV0"}> status.matched:1> status.succeeded:1>`,
			`removed assignment shop/web pi-01 revision:1> score_hash:"` + eventlog.Hash(score("app:1")) + `">`,
			`removed state shop/web pi-01 phase:"Running"> revision:1>`,
		}},
		"an orphan": {before: start, then: func(w told) {
			w.say(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentOrphaned, eventlog.DeploymentEnd{Reason: "ResourceGone"})
		}, want: []string{`changed deployment shop/web  lifecycle:"Applied">"Orphaned"`}},
		"a device that went offline and was relabelled": {before: start, then: func(w told) {
			w.say(eventlog.DeviceSubject("pi-01"), eventlog.DeviceOffline, eventlog.Presence{Reason: "PulseMissed"})
			w.say(eventlog.DeviceSubject("pi-01"), eventlog.DeviceRelabeled, eventlog.Labels{Labels: map[string]eventlog.OwnedLabel{"site": {Value: "lab", Owner: "kubectl"}}})
		}, want: []string{`changed device / pi-01 online:>"Offline" reason:>"PulseMissed" labels.site:>"lab"`}},
		"a device with a newer agent": {before: start, then: func(w told) { w.info("pi-01", "v2") }, want: []string{
			`changed device / pi-01 inventory.agent_version:"v1">"v2"`,
		}},
		"a device that is gone": {before: func(w told) { w.info("pi-02", "v1") }, then: func(w told) {
			w.say(eventlog.InfoSubject("pi-02"), eventlog.InfoCleared, nil)
			w.say(eventlog.DeviceSubject("pi-02"), eventlog.DeviceDecommissioned, eventlog.Removal{Reason: "Gone"})
		}, want: []string{`removed device / pi-02 inventory:` + inventory("v1") + `>`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := told{t, fleet.New()}, told{t, fleet.New()}
			tt.before(a)
			tt.before(b)
			tt.then(b)
			if diff := cmp.Diff(tt.want, words(viewdiff.Between(a.view, b.view))); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			back := words(viewdiff.Between(b.view, a.view))
			if len(back) != len(tt.want) {
				t.Errorf("the way back has %d changes, the way there %d:\n%s", len(back), len(tt.want), strings.Join(back, "\n"))
			}
		})
	}
}

func inventory(version string) string {
	return `{"agent_version":"` + version + `","arch":"","cpu_cores":0,"hostname":"","kernel":"","memory_mb":0,"os":"","podman_version":""}`
}

func TestFields(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		before, after string
		want          []string
	}{
		"equal, however they are written": {`{"a": 1, "b": [2]}`, `{"b":[2],"a":1}`, nil},
		"a value":                         {`{"a":{"b":1}}`, `{"a":{"b":2}}`, []string{`a.b 1 2`}},
		"something new":                   {`{}`, `{"a":null}`, []string{`a  null`}},
		"something gone":                  {`{"a":"x"}`, `{}`, []string{`a "x" `}},
		"a list of names":                 {`{"s":[{"name":"x","v":1},{"name":"y"}]}`, `{"s":[{"name":"y"},{"name":"x","v":2}]}`, []string{`s[x].v 1 2`}},
		"another list is one value":       {`{"p":["80","81"]}`, `{"p":["80"]}`, []string{`p ["80","81"] ["80"]`}},
		"a key that looks like a path":    {`{"c":{"/etc/x.conf":"a"}}`, `{"c":{"/etc/x.conf":"b"}}`, []string{`c["/etc/x.conf"] "a" "b"`}},
		"another kind of value":           {`{"a":[]}`, `{"a":{}}`, []string{`a [] {}`}},
		"from nothing":                    {``, `{"a":1}`, []string{` ` + ` {"a":1}`}},
		"large numbers keep their digits": {`{"n":9007199254740993}`, `{"n":9007199254740992}`, []string{`n 9007199254740993 9007199254740992`}},
		"no JSON":                         {`oops`, `{}`, []string{` "oops" {}`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, f := range viewdiff.Fields("", []byte(tt.before), []byte(tt.after)) {
				got = append(got, fmt.Sprintf("%s %s %s", f.Path, f.Before, f.After))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzFields(f *testing.F) {
	f.Add([]byte(`{"s":[{"name":"x"}]}`), []byte(`{"s":[{"name":"x","v":[1]}]}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if fs := viewdiff.Fields("p", a, a); len(fs) > 0 {
			t.Errorf("%q differs from itself: %v", a, fs)
		}
		for _, field := range viewdiff.Fields("p", a, b) {
			if !strings.HasPrefix(field.Path, "p") {
				t.Errorf("path %q", field.Path)
			}
		}
	})
}
