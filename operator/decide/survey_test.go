package decide_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// Whoever looks at the log alone, as explain, history and replay do, finds the same
// numbers and the same standing of each device as the operator keeps by what changes,
// after every event of random stories. Once the operator has nothing more to say, no
// device waits for it, and whatever a device is owed waits for something that has a name.
func TestASurveyOfTheViewSaysWhatTheOperatorKeeps(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		l := &surveyLaw{rt: rt, w: newWorld(rt), crs: map[fleet.Key]*v1alpha1.Deployment{}, owned: map[string]map[string]string{}, budgets: map[string]eventlog.Budget{}}
		l.w.View().Track()
		l.w.appended = l.agree
		l.begin()
		for i := range rapid.IntRange(1, 40).Draw(rt, "steps") {
			l.step(i)
			l.settled()
		}
	})
}

type surveyLaw struct {
	rt      *rapid.T
	w       *world
	crs     map[fleet.Key]*v1alpha1.Deployment
	owned   map[string]map[string]string // the labels of each Device
	budgets map[string]eventlog.Budget
}

var surveyDevices = []string{"a", "b", "c", "d", "e", "f", "g", "h"}

func (l *surveyLaw) begin() {
	for i, id := range surveyDevices {
		l.label(id, []string{"x", "y"}[i%2])
		l.presence(id, eventlog.DeviceOnline)
	}
	l.budget("floor")
	l.put(0, key("m/web"))
	l.put(0, key("m/db"))
	l.settled()
}

// budget applies a DisruptionBudget, or deletes it: of the devices of site x, or of each
// site by itself.
func (l *surveyLaw) budget(name string) {
	if _, ok := l.budgets[name]; ok && rapid.Bool().Draw(l.rt, "drop") {
		delete(l.budgets, name)
		l.w.RemoveBudget(name, true)
		l.w.DropBudget(name)
		l.w.tell(eventlog.BudgetSubject(name), eventlog.BudgetDeleted, eventlog.BudgetEnd{Reason: "CRDeleted"})
		return
	}
	n := eventlog.Amount{N: rapid.IntRange(0, 3).Draw(l.rt, "budget")}
	b := eventlog.Budget{MaxUnavailable: &n}
	if rapid.Bool().Draw(l.rt, "least") {
		b = eventlog.Budget{MinAvailable: &n}
	}
	selector := labels.Set{"site": "x"}
	if rapid.Bool().Draw(l.rt, "by site") {
		selector, b.GroupBy = labels.Set{"fleet": "all"}, []string{"site"}
	}
	b.Selector = eventlog.Selector{MatchLabels: selector}
	l.budgets[name] = b
	l.w.PutBudget(name, b, labels.SelectorFromSet(selector))
	l.w.tell(eventlog.BudgetSubject(name), eventlog.BudgetApplied, b)
}

// ledger holds what the operator keeps of each budget by what changes against a look at
// each device.
func (l *surveyLaw) ledger() {
	for name, b := range l.budgets {
		want := map[string]decide.KeptGroup{}
		for id, owned := range l.owned {
			dev := l.w.View().Devices[id]
			if dev != nil && dev.Out() || !selects(b.Selector.MatchLabels, owned) {
				continue
			}
			site := ""
			if len(b.GroupBy) > 0 {
				site = owned["site"]
			}
			g := want[site]
			g.Members++
			if dev == nil || dev.Presence.Online != fleet.OnlineTrue || unwell(dev) {
				g.Down++
			}
			want[site] = g
		}
		for site, g := range want {
			if b.MaxUnavailable != nil {
				g.Allowed = b.MaxUnavailable.N
			} else {
				g.Allowed = max(0, g.Members-b.MinAvailable.N)
			}
			want[site] = g
		}
		if diff := cmp.Diff(want, l.w.Groups(name)); diff != "" {
			l.rt.Fatalf("budget %s after event %d (%s) (-scanned +kept by change):\n%s", name, l.w.seq, l.w.log[l.w.seq-1].Type, diff)
		}
	}
}

func selects(want, have map[string]string) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}

// unwell says whether something on a device is unavailable or failed.
func unwell(dev *fleet.Device) bool {
	for p := range dev.Assignments {
		if p.Disturbed() || p.Failed() || p.Leaving() {
			return true
		}
	}
	return false
}

func (l *surveyLaw) label(id, site string) {
	l.owned[id] = map[string]string{v1alpha1.LabelDevice: id, "site": site, "fleet": "all"}
	l.ask(l.w.label(id, "site", site, "fleet", "all"))
}

func (l *surveyLaw) presence(id string, kind eventlog.Type) {
	l.w.tell(eventlog.DeviceSubject(id), kind, eventlog.Presence{LastSeen: now})
	l.ask(decide.OfDevice(id))
}

func (l *surveyLaw) ask(in decide.Input) { (&placementLaw{rt: l.rt, w: l.w}).ask(in) }

func (l *surveyLaw) pick(what string, of ...string) string {
	return rapid.SampledFrom(of).Draw(l.rt, what)
}

// put applies a Deployment, or another spec of it.
func (l *surveyLaw) put(i int, k fleet.Key) {
	d := cr(k.Namespace, k.Name, l.pick("image", "app:1", "app:2", "app:3"), nil)
	site := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y"}), 1, 2, rapid.ID[string]).Draw(l.rt, "site")
	expression("site", metav1.LabelSelectorOpIn, site...)(d)
	if value := l.pick("value", "", "", "$(device.labels.site)", "$(device.labels.rack)"); value != "" {
		d.Spec.Score.Data.Services[0].Env = map[string]v1alpha1.EnvValue{"VALUE": v1alpha1.EnvValue(value)}
	}
	r := &d.Spec.Rollout
	if r.Strategy = v1alpha1.RolloutBatched; rapid.IntRange(0, 5).Draw(l.rt, "immediate") == 0 {
		r.Strategy = v1alpha1.RolloutImmediate
	} else {
		soak := metav1.Duration{Duration: time.Duration(rapid.IntRange(0, 60).Draw(l.rt, "soak")) * time.Second}
		first := v1alpha1.RolloutBatch{Soak: &soak, Approval: l.pick("approval", "Automatic", "Automatic", "Manual")}
		if rapid.Bool().Draw(l.rt, "pinned") {
			first.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{v1alpha1.LabelDevice: "b"}}
		} else {
			size := intstr.FromInt32(2)
			first.Size = &size
		}
		r.Batches = []v1alpha1.RolloutBatch{first, {Soak: &soak}}
		most := intstr.FromInt32(int32(rapid.IntRange(1, 3).Draw(l.rt, "maxUnavailable")))
		r.MaxUnavailable = &most
		r.ProgressDeadline = &metav1.Duration{Duration: 90 * time.Second}
		r.OnFailure = l.pick("onFailure", "Pause", "Rollback", "Continue")
		r.OfflineDevices = l.pick("offlineDevices", "Skip", "Skip", "Wait")
		r.Paused = rapid.IntRange(0, 7).Draw(l.rt, "paused") == 0
		if rapid.IntRange(0, 2).Draw(l.rt, "windows") == 0 {
			r.Windows = []v1alpha1.RolloutWindow{{Schedule: "*/10 * * * *", Duration: metav1.Duration{Duration: time.Duration(rapid.IntRange(1, 11).Draw(l.rt, "open")) * time.Minute}}}
		}
		if rapid.IntRange(0, 2).Draw(l.rt, "rate") == 0 {
			r.Rate = &v1alpha1.RolloutRate{Devices: int32(rapid.IntRange(1, 6).Draw(l.rt, "a minute"))}
		}
	}
	if k.Name == "web" && rapid.Bool().Draw(l.rt, "depends") {
		r.DependsOn = []string{"db"}
	}
	if old := l.crs[k]; old != nil {
		d.Generation = old.Generation + 1
	}
	l.crs[k] = d
	l.ask(l.w.put(d))
}

func (l *surveyLaw) step(i int) {
	id := l.pick("device", surveyDevices...)
	k := key(l.pick("deployment", "m/web", "m/web", "m/web", "m/db", "n/web"))
	l.w.later += time.Duration(rapid.SampledFrom([]int{0, 1, 1, 10, 40, 100}).Draw(l.rt, "later"))
	switch l.pick("do", "report", "report", "report", "report", "report all", "presence", "budget", "put", "put", "ask", "ask", "label", "wait", "delete", "decommission", "allow") {
	case "report":
		l.report(id, k.Name, eventlog.Phase(l.pick("phase", "Running", "Running", "Running", "Failed", "Pending")))
	case "report all":
		for _, id := range surveyDevices {
			l.report(id, k.Name, eventlog.PhaseRunning)
		}
	case "presence":
		l.presence(id, eventlog.Type(l.pick("presence", string(eventlog.DeviceOnline), string(eventlog.DeviceOffline))))
	case "budget":
		l.budget(l.pick("budget", "floor", "roof"))
		l.ask(decide.OfDeployment(k))
	case "put":
		l.put(i, k)
	case "label":
		l.label(id, l.pick("site", "x", "y", "z"))
	case "ask":
		l.request(k)
	case "wait":
		l.w.tell(eventlog.LeaderSubject, eventlog.LeaderElected, eventlog.Leader{Identity: "op"})
		l.due()
	case "delete":
		if l.crs[k] == nil {
			return
		}
		gone := l.crs[k].DeepCopy()
		deleting(gone)
		l.ask(l.w.put(gone))
		l.w.RemoveDeployment(k)
		l.ask(decide.OfDeployment(k))
		delete(l.crs, k)
	case "decommission":
		l.w.tell(eventlog.DeviceRequestSubject("ada", id), eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestDecommission})
		l.ask(decide.OfDevice(id))
	case "allow":
		l.w.requestAccess(id, eventlog.RequestAllow, "")
		l.ask(decide.OfDevice(id))
	}
}

func (l *surveyLaw) report(id, name string, phase eventlog.Phase) {
	dev := l.w.View().Devices[id]
	if dev == nil || dev.Pair(name) == nil || dev.Decommissioned {
		return
	}
	switch p := dev.Pair(name); {
	case p.Assigned():
		l.w.report(id, name, phase)
	case p.Reported.Sequence > 0:
		l.w.tell(eventlog.StateSubject(id, name), eventlog.StateCleared, nil)
	}
	l.ask(decide.OfDevice(id))
}

func (l *surveyLaw) request(k fleet.Key) {
	d := l.w.View().Deployments[k]
	if d == nil {
		return
	}
	verb := l.pick("verb", eventlog.RolloutVerbs()...)
	l.w.tell(eventlog.RequestSubject("ada", k.Namespace, k.Name), eventlog.RequestMade, eventlog.Request{
		Verb: verb, Revision: d.Spec.Revision, Run: d.Run.ID, Batch: d.Run.Batch, Full: rapid.IntRange(0, 4).Draw(l.rt, "full") == 0,
	})
	l.ask(decide.OfDeployment(k))
}

// due decides what the time alone makes due.
func (l *surveyLaw) due() {
	for {
		due, err := decide.Due(l.w.State, now)
		if err != nil {
			l.rt.Fatal(err)
		}
		if len(due) == 0 {
			return
		}
		l.w.append(due...)
		for k := range l.crs {
			l.ask(decide.OfDeployment(k))
		}
	}
}

// recorded says whether the log has the labels of every Device as the API shows them.
func (l *surveyLaw) recorded() bool {
	for id, labels := range l.owned {
		dev := l.w.View().Devices[id]
		if dev == nil || len(dev.Labels) != len(labels) {
			return false
		}
		for k, v := range labels {
			if dev.Labels[k].Value != v {
				return false
			}
		}
	}
	return true
}

// agree holds a survey of the view against what the operator keeps.
func (l *surveyLaw) agree() {
	l.ledger()
	if !l.recorded() {
		return // the operator knows of labels that the log has not
	}
	for k, d := range l.w.View().Deployments {
		kept, ok := l.w.Kept(k)
		if !ok || !kept.Current {
			continue
		}
		s := rollout.Look(l.w.View(), d, l.w.Clock())
		n := s.Counts()
		got := decide.Kept{Current: true, Matched: n.Matched, Online: n.Online, Disturbed: n.Disturbed, Standings: n.Standings, Places: map[string]decide.KeptPlace{}}
		judged := d.Run.Phase == fleet.PhaseProgressing && !rollout.Immediate(&d.Run) && d.Hold == nil && !d.Settings.Paused && !d.Run.Failed
		for _, p := range s.Places() {
			place := decide.KeptPlace{Matches: p.Matches, Skipped: p.Skipped != "", Blocked: p.Blocked != ""}
			if p.Matches {
				place.Batch, place.Standing = p.Batch, p.Standing
				if judged && p.Batch == d.Run.Batch {
					place.Judged, place.Class = true, p.Class
				}
			}
			got.Places[p.Device.ID] = place
		}
		want := kept
		want.Places = map[string]decide.KeptPlace{}
		for id, p := range kept.Places {
			p.Owes, p.Full, p.Budget = false, false, ""
			if !judged {
				p.Judged, p.Class = false, 0
			}
			want.Places[id] = p
		}
		if diff := cmp.Diff(want, got); diff != "" {
			l.rt.Fatalf("%s after event %d (%s), %+v: (-kept by change +surveyed):\n%s", k, l.w.seq, l.w.log[l.w.seq-1].Type, d.Run, diff)
		}
	}
}

// down gives the devices that are down of the group of a budget.
func (l *surveyLaw) down(w rollout.Wait) (ids []string) {
	for _, id := range surveyDevices {
		dev := l.w.View().Devices[id]
		if !dev.Out() && (l.owned[id]["site"] == "x" && w.Group == "" || w.Group == "site="+l.owned[id]["site"]) && (dev.Presence.Online != fleet.OnlineTrue || unwell(dev)) {
			ids = append(ids, id)
		}
	}
	return ids
}

// settled: the operator has nothing more to say, so nothing waits for it.
func (l *surveyLaw) settled() {
	l.due()
	for again := true; again; {
		again = false
		for _, k := range slices.SortedFunc(maps.Keys(l.crs), fleet.Key.Compare) {
			again = len(l.w.settle(decide.OfDeployment(k))) > 0 || again
		}
	}
	l.agree()
	for k := range l.crs {
		d := l.w.View().Deployments[k]
		kept, ok := l.w.Kept(k)
		if !ok || !kept.Current {
			continue
		}
		s := rollout.Look(l.w.View(), d, l.w.Clock())
		for _, p := range s.Places() {
			w := s.Why(p.Device)
			is := kept.Places[p.Device.ID]
			fault := ""
			switch {
			case w.Message == "" || strings.Contains(w.Message, "%!"):
				fault = "it has no sentence"
			case w.Kind == rollout.WaitOperator:
				fault = "the operator has nothing to say"
			case w.Kind == rollout.WaitNothing && is.Owes:
				fault = "something is owed to it"
			case w.Kind == rollout.WaitBudget && is.Budget != w.Name+" "+strings.TrimPrefix(w.Group, "site="):
				fault = "the operator waits for the budget " + is.Budget
			case w.Kind == rollout.WaitBudget && !slices.Equal(w.Devices, l.down(w)):
				fault = "down there are " + strings.Join(l.down(w), ", ")
			}
			if fault != "" {
				l.rt.Fatalf("%s on %s waits for %q, %q; %s: %+v, run %+v", k, p.Device.ID, w.Kind, w.Message, fault, is, d.Run)
			}
		}
	}
}
