package export_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/export"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// story folds events into a view.
type story struct {
	t *testing.T
	v *fleet.View
}

func (s *story) tell(subject string, t eventlog.Type, payload any) {
	s.t.Helper()
	d, err := eventlog.NewDraft(subject, t, time.Unix(1, 0), payload)
	if err != nil {
		s.t.Fatal(err)
	}
	m := d.Message("test", "ID")
	e, err := eventlog.Decode(m.Subject, m.Header, m.Data, s.v.Sequence+1, time.Unix(1, 0))
	fleet.Apply(s.v, e, err)
}

func (s *story) apply(ns, name, score string) {
	s.t.Helper()
	decoded, err := eventlog.DecodeScore([]byte(score))
	if err != nil {
		s.t.Fatal(err)
	}
	canonical, err := decoded.Canonical()
	if err != nil {
		s.t.Fatal(err)
	}
	s.tell(eventlog.DeploymentSubject(ns, name), eventlog.DeploymentApplied, eventlog.Deployment{
		UID: "u", Generation: 4, Revision: 7, Score: canonical, ScoreHash: eventlog.Hash(canonical), ChangeCause: "a: cause",
		Rollout:  json.RawMessage(`{"strategy":"Immediate"}`),
		Selector: eventlog.Selector{MatchLabels: map[string]string{"site": "lab"}, MatchExpressions: []eventlog.SelectorRequirement{{Key: "tier", Operator: "In", Values: []string{"a", "b"}}}},
	})
}

func TestWhatALogKnowsIsWrittenForKubectl(t *testing.T) {
	t.Parallel()
	s := &story{t, fleet.New()}
	s.apply("shop", "web", `{"type":"PodmanV0","data":{"services":[{"name":"web","image":"nginx:1.27","env":{"A":"1","B":"yes","C":"x\ny: z"},"ports":["80"]}]}}`)
	s.apply("default", "lost", `{"type":"PodmanV0","data":{"services":[{"name":"web","image":"nginx:1"}]}}`)
	s.tell(eventlog.DeploymentSubject("default", "lost"), eventlog.DeploymentOrphaned, eventlog.DeploymentEnd{Reason: "CRMissing"})
	s.apply("default", "ended", `{"type":"PodmanV0","data":{"services":[{"name":"web","image":"nginx:1"}]}}`)
	s.tell(eventlog.DeploymentSubject("default", "ended"), eventlog.DeploymentDeleted, eventlog.DeploymentEnd{Reason: "CRDeleted"})
	labels := func(more map[string]eventlog.OwnedLabel) eventlog.Labels {
		more["site"] = eventlog.OwnedLabel{Value: "lab", Owner: eventlog.OwnerDevice}
		more["fleet.nationtech.io/device"] = eventlog.OwnedLabel{Value: "x", Owner: "fleet-operator"}
		return eventlog.Labels{Labels: more}
	}
	s.tell(eventlog.DeviceSubject("pi-01"), eventlog.DeviceRelabeled, labels(map[string]eventlog.OwnedLabel{"pool": {Value: "gold", Owner: "kubectl-label"}}))
	s.tell(eventlog.DeviceSubject("pi-02"), eventlog.DeviceRelabeled, labels(map[string]eventlog.OwnedLabel{}))
	s.tell(eventlog.DeviceSubject("pi-03"), eventlog.DeviceRelabeled, labels(map[string]eventlog.OwnedLabel{"pool": {Value: "gold", Owner: "kubectl-label"}}))
	s.tell(eventlog.DeviceSubject("pi-03"), eventlog.DeviceDecommissioned, eventlog.Removal{Reason: "Gone"})

	budget := eventlog.Budget{UID: "u", Generation: 3, Selector: eventlog.Selector{MatchLabels: map[string]string{"tier": "edge"}}, MaxUnavailable: &eventlog.Amount{N: 10, Percent: true}, GroupBy: []string{"site"}}
	s.tell(eventlog.BudgetSubject("racks"), eventlog.BudgetApplied, budget)
	s.tell(eventlog.BudgetSubject("racks"), eventlog.BudgetDeleted, eventlog.BudgetEnd{Reason: eventlog.ReasonBudgetMissing})
	s.tell(eventlog.BudgetSubject("ended"), eventlog.BudgetApplied, budget)
	s.tell(eventlog.BudgetSubject("ended"), eventlog.BudgetDeleted, eventlog.BudgetEnd{Reason: eventlog.ReasonBudgetDeleted})
	s.tell(eventlog.BudgetSubject("odd"), eventlog.BudgetApplied, eventlog.Budget{Problem: "two numbers"})
	s.tell(eventlog.BudgetSubject("halls"), eventlog.BudgetApplied, eventlog.Budget{Selector: budget.Selector, MinAvailable: &eventlog.Amount{N: 2}})

	o, err := export.Of(s.v)
	if err != nil {
		t.Fatal(err)
	}
	want := `apiVersion: v1
kind: Namespace
metadata:
  name: shop
---
apiVersion: fleet.nationtech.io/v1alpha1
kind: DisruptionBudget
metadata:
  name: halls
spec:
  minAvailable: 2
  selector:
    matchLabels:
      tier: edge
---
apiVersion: fleet.nationtech.io/v1alpha1
kind: DisruptionBudget
metadata:
  name: racks
spec:
  groupBy:
  - site
  maxUnavailable: 10%
  selector:
    matchLabels:
      tier: edge
---
apiVersion: fleet.nationtech.io/v1alpha1
kind: Deployment
metadata:
  annotations:
    kubernetes.io/change-cause: 'a: cause'
  name: lost
  namespace: default
spec:
  rollout:
    strategy: Immediate
  score:
    data:
      services:
      - image: nginx:1
        name: web
    type: PodmanV0
  targetSelector:
    matchExpressions:
    - key: tier
      operator: In
      values:
      - a
      - b
    matchLabels:
      site: lab
---
apiVersion: fleet.nationtech.io/v1alpha1
kind: Deployment
metadata:
  annotations:
    kubernetes.io/change-cause: 'a: cause'
  name: web
  namespace: shop
spec:
  rollout:
    strategy: Immediate
  score:
    data:
      services:
      - env:
          A: "1"
          B: "yes"
          C: |-
            x
            y: z
        image: nginx:1.27
        name: web
        ports:
        - "80"
    type: PodmanV0
  targetSelector:
    matchExpressions:
    - key: tier
      operator: In
      values:
      - a
      - b
    matchLabels:
      site: lab
---
apiVersion: fleet.nationtech.io/v1alpha1
kind: Device
metadata:
  labels:
    pool: gold
  name: pi-01
`
	if diff := cmp.Diff(want, string(o.YAML)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([][]string{{"shop"}, {"pi-01"}}, [][]string{o.Namespaces, o.Devices}); diff != "" || len(o.Deployments) != 2 {
		t.Errorf("%d Deployments; (-want +got):\n%s", len(o.Deployments), diff)
	}
}

// Guarantee: a score comes back from YAML as the log has it, to the byte, so that
// no new revision follows and no container is replaced.
func TestAScoreComesBackToTheByte(t *testing.T) {
	t.Parallel()
	text := rapid.StringOf(rapid.RuneFrom([]rune("aZ0 \t\n:-#'\"\\{}[]&*!|>%@`,?~=é世😀\u2028\u0085\ufeff")))
	rapid.Check(t, func(rt *rapid.T) {
		score := map[string]any{"type": rapid.SampledFrom([]string{"PodmanV0", "Other"}).Draw(rt, "type"), "data": map[string]any{
			"services": []any{map[string]any{
				"name": "web", "image": "x", "command": []string{text.Draw(rt, "command")},
				"env":     map[string]any{"K": rapid.SampledFrom([]any{"1", "true", "null", "1e3", "0x1f", "~", "2026-11-24", "<<", "=", "010"}).Draw(rt, "env")},
				"configs": map[string]any{"/x": text.Draw(rt, "config")},
			}},
			"unknown": rapid.SampledFrom([]any{1, 1.5, 1e21, 1e-7, 1234567890123456, true, nil, []any{}, map[string]any{}, 9007199254740993.0}).Draw(rt, "unknown"),
		}}
		b, err := json.Marshal(score)
		if err != nil {
			rt.Fatal(err)
		}
		s := &story{t, fleet.New()}
		s.apply("default", "web", string(b))
		o, err := export.Of(s.v)
		if err != nil {
			rt.Fatalf("%s: %v", b, err)
		}
		var d v1alpha1.Deployment
		if err := yaml.Unmarshal(o.YAML, &d); err != nil {
			rt.Fatal(err)
		}
		want := s.v.Deployments[fleet.Key{Namespace: "default", Name: "web"}].Spec
		got := decide.SpecOf(&d)
		if string(got.Score) != string(want.Score) || got.Hash != want.ScoreHash {
			rt.Fatalf("score %s, want %s", got.Score, want.Score)
		}
		if strings.Contains(string(o.YAML), "status:") {
			rt.Fatal("it has a status")
		}
	})
}
