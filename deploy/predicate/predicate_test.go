package predicate_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/predicate"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/timeline"
)

// told is a fleet of two devices with shop/till, of which one fails, and with a budget.
func told(t *testing.T) *fleet.View { return teller(t).Fleet(timeline.Options{}) }

func teller(t *testing.T) *storytest.Story {
	w := storytest.New(t)
	for _, id := range []string{"pi-01", "pi-02"} {
		w.Device(id, map[string]string{"site": "lab"})
		w.Online(id)
	}
	applied := w.Apply(storytest.Till, 1, storytest.Podman("nginx:1"))
	w.Rollout(storytest.Till, eventlog.RolloutStarted, 1, 2)
	w.Assign("pi-01", storytest.Till, 1, applied)
	w.Assign("pi-02", storytest.Till, 1, applied)
	w.Report("pi-01", storytest.Till, eventlog.PhaseRunning, "", 1)
	w.Failing("pi-02", storytest.Till, "ImageNotFound", "no such tag")
	w.Say(eventlog.BudgetSubject("doors"), eventlog.BudgetApplied, eventlog.Budget{MaxUnavailable: &eventlog.Amount{N: 2}})
	return w
}

func TestAPredicateHoldsOrNotOrLooksAtWhatIsNotThere(t *testing.T) {
	t.Parallel()
	v := told(t)
	for text, want := range map[string]predicate.Answer{
		`true`: {Holds: true}, `false`: {},
		`"shop/till" in deployments`:                                                                         {Holds: true},
		`deployments["shop/till"].status.aggregate.failed == 1`:                                              {Holds: true},
		`deployments["shop/till"].status.aggregate.failed > 1`:                                               {},
		`deployments["shop/till"].status.aggregate.failed >= 0.5`:                                            {Holds: true},
		`deployments["shop/gone"].status.aggregate.failed == 1`:                                              {Missing: "shop/gone"},
		`devices["pi-02"].status.onDevice[7].reason == "ImageNotFound"`:                                      {Missing: "element 7"},
		`devices.filter(id, devices[id].status.deployments.failed > 5)[0] == "pi-02"`:                        {Missing: "element 0"},
		`devices["pi-02"].status.onDevice[?7].?reason.orValue("") == ""`:                                     {Holds: true},
		`deployments["shop/till"].status.aggregates.failed == 1`:                                             {Missing: "aggregates"},
		`deployments[?"shop/gone"].?status.aggregate.failed.orValue(0) == 0`:                                 {Holds: true},
		`has(deployments["shop/till"].status.rollout)`:                                                       {Holds: true},
		`devices.all(id, devices[id].status.conditions.exists(c, c.type == "Online" && c.status == "True"))`: {Holds: true},
		`devices.filter(id, devices[id].status.deployments.failed > 0) == ["pi-02"]`:                         {Holds: true},
		`devices["pi-02"].status.onDevice[0].reason.startsWith("Image")`:                                     {Holds: true},
		`rollouts["shop/till"].status.phase == "Progressing"`:                                                {Holds: true},
		`budgets["doors"].maxUnavailable == 2 && !budgets["doors"].missing`:                                  {Holds: true},
		`now > timestamp("2026-11-24T12:00:00Z") && sequence == 15`:                                          {Holds: true},
		`timestamp(devices["pi-01"].metadata.creationTimestamp) < now`:                                       {Holds: true},
	} {
		p, err := predicate.Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := p.Ask(t.Context(), v)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestWhatIsWrongWithAPredicateIsSaidWithItsPlace(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`deployment["shop/till"].status.failed > 1`: `column 1: there is no deployment: is deployments meant?`,
		`devices["a"].x > `:                         `column 18: `,
		"devices.size() > 1 &&\n  fleet == 2":       `line 2, column 3: there is no fleet; a predicate sees deployments, devices, rollouts, budgets, now, sequence`,
		`devices.size()`:                            `gives a int and no bool`,
		`sequence == "a"`:                           `column 10: `,
		``:                                          `column `,
	} {
		_, err := predicate.Compile(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, and not: %s", text, err, want)
		}
	}
}

func TestAPredicateThatGoesWrongIsAnErrorAndNoAnswer(t *testing.T) {
	t.Parallel()
	v := told(t)
	for text, want := range map[string]string{
		`devices["pi-01"].metadata.name > 3`: "no such overload",
		`devices["pi-01"].metadata.name`:     "gives a string and no bool",
		`1 / (sequence - sequence) == 1`:     "division by zero",
	} {
		p, err := predicate.Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if _, err := p.Ask(t.Context(), v); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "sequence 15") {
			t.Errorf("%s: %v, and not: %s", text, err, want)
		}
	}
}

func TestAPredicateSeesTheObjectsThatGetShows(t *testing.T) {
	t.Parallel()
	v := told(t)
	b, err := predicate.NewObjects(v).JSON()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	c := resource.NewCatalog(v, v.Recorded)
	for _, plural := range resource.Plurals() {
		r, err := resource.ByWord(plural)
		if err != nil {
			t.Fatal(err)
		}
		want, is := map[string]any{}, map[string]any{}
		for _, key := range r.Keys(c) {
			name := strings.TrimPrefix(key.String(), "/")
			want[name] = through(t, r.Show(c, key).Object)
		}
		if err := json.Unmarshal(got[plural], &is); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, is); diff != "" || len(is) == 0 {
			t.Errorf("%s: %s", plural, diff)
		}
	}
}

// through is a value as JSON has it.
func through(t *testing.T, v any) (out any) {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// A device without a Deployment has no status.onDevice, and what works has no reason: one
// such device must not decide what is said of all.
func TestWhatOneOfManyThingsLacksIsAnErrorAndNoAnswer(t *testing.T) {
	t.Parallel()
	w := teller(t)
	w.Device("pi-03", map[string]string{"site": "lab"})
	v := w.Fleet(timeline.Options{})
	for text, want := range map[string]string{
		`devices.filter(d, devices[d].status.onDevice.exists(o, o.phase == "Failed")).size() > 0`: "column 36: there is no onDevice in one of the things that it walks over: look at it by .?onDevice, and say by .orValue(",
		`!devices.exists(d, devices[d].status.onDevice.size() > 5)`:                               "there is no onDevice",
		`devices.all(d, devices[d].status.?onDevice.orValue([]).all(o, o.reason != ""))`:          "there is no reason",
		`devices.map(d, devices[d].status.?onDevice.orValue([])[0].phase) == []`:                  "there is no element 0 in one of the things that it walks over: look at it by [?0]",
		`!["shop/gone"].exists(d, deployments[d].status.x == 1)`:                                  `look at it by [?"shop/gone"]`,
	} {
		p, err := predicate.Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if a, err := p.Ask(t.Context(), v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v, and not: %s", text, a, err, want)
		}
	}
	for text, want := range map[string]predicate.Answer{
		`devices.filter(d, devices[d].status.?onDevice.orValue([]).exists(o, o.?reason.orValue("") == "ImageNotFound")) == ["pi-02"]`: {Holds: true},
		`devices.exists(d, has(devices[d].status.onDevice) && devices[d].status.onDevice[0].phase == "Failed")`:                       {Holds: true},
		`deployments["shop/gone"].status.x.exists(o, o == 1)`:                                                                         {Missing: "shop/gone"},
		`devices.size() == 3 && deployments["shop/gone"].status.x == 1`:                                                               {Missing: "shop/gone"},
	} {
		p, err := predicate.Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := p.Ask(t.Context(), v); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}
