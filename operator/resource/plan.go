package resource

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/window"
)

// Plan is what a rollout would do, or what one that is on its way does.
type Plan struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Sequence  uint64    `json:"sequence"` // of the log, of which it is true
	Time      time.Time `json:"time"`
	Of        string    `json:"of"`            // see the constants
	Run       uint64    `json:"run,omitempty"` // of PlanOfRun
	Kind      string    `json:"kind,omitempty"`
	Strategy  string    `json:"strategy"`
	From      uint64    `json:"from,omitempty"` // the revision that is out
	Revision  uint64    `json:"revision"`

	Matched     int `json:"matched"`
	Online      int `json:"online"`
	Offline     int `json:"offline"`         // they follow when they are back
	Disruptions int `json:"disruptions"`     // devices on which something that runs is replaced
	First       int `json:"first"`           // devices that have nothing of it yet
	Limit       int `json:"max_unavailable"` // as a number of devices
	// AtRisk is how many devices are disrupted before anything is judged.
	AtRisk int `json:"at_risk"`
	// AtLeast is the shortest time it can take: the soaks one after the other. What the
	// devices take, and persons who approve, comes on top.
	AtLeast   eventlog.Duration `json:"at_least"`
	Approvals int               `json:"approvals"`
	Deadline  eventlog.Duration `json:"progress_deadline"`
	OnFailure string            `json:"on_failure"`

	Batches  []PlannedBatch  `json:"batches"`
	Skipped  []SkippedByWhy  `json:"skipped,omitempty"`
	Defaults []FilledDefault `json:"defaults,omitempty"`
	Notes    []string        `json:"notes,omitempty"`
}

// What a Plan is of.
const (
	PlanOfManifest = "manifest"
	PlanOfNext     = "next"    // the next revision of what there is, whatever it says
	PlanOfRun      = "run"     // the run that is on its way, as it was frozen
	PlanOfNothing  = "nothing" // no run would begin
)

// PlannedBatch is one batch of a plan.
type PlannedBatch struct {
	Number      int               `json:"number"`
	Size        string            `json:"size"`
	Devices     int               `json:"devices"`
	Offline     int               `json:"offline"`
	Disruptions int               `json:"disruptions"`
	First       int               `json:"first"`
	Waves       int               `json:"waves"` // of at most max_unavailable devices
	Allowed     int               `json:"allowed_bad"`
	Soak        eventlog.Duration `json:"soak"`
	Gates       []string          `json:"gates,omitempty"`
	Approval    string            `json:"approval"`
	Names       []string          `json:"names"` // the first of the devices, in their order
}

// SkippedByWhy are devices that would not be given it.
type SkippedByWhy struct {
	Reason  string   `json:"reason"`
	Message string   `json:"message,omitempty"` // of the first device: what to do
	Count   int      `json:"count"`
	Devices []string `json:"devices"`
}

// FilledDefault is a field of spec.rollout that the author left out, and what the
// operator fills in.
type FilledDefault struct {
	Field string `json:"field"`
	Value string `json:"value"`
}

// PlanManifest gives what applying a Deployment would do: the operator's decisions are
// asked, and folded in memory. The catalog's view is spent by that.
func (c *Catalog) PlanManifest(o v1alpha1.Deployment, most int) (Plan, error) {
	key := fleet.Key{Namespace: o.Namespace, Name: o.Name}
	if d := c.View.Deployments[key]; d != nil {
		o.UID, o.Generation = "", d.Spec.Generation+1
		if d.Lifecycle == fleet.Applied || d.Lifecycle == fleet.Orphaned {
			o.UID = types.UID(d.Spec.UID)
		}
	}
	if o.UID == "" {
		o.UID = "plan"
	}
	spec := decide.SpecOf(&o)
	if spec.Problem != nil {
		return Plan{}, spec.Problem
	}
	c.state.SetDeployment(spec)
	return c.planOf(key, PlanOfManifest, most)
}

// PlanNext gives the plan of the run that is on its way, and where none is, what a next
// revision would do. The catalog's view is spent by that.
func (c *Catalog) PlanNext(key fleet.Key, most int) (Plan, error) {
	d := c.View.Deployments[key]
	if run := &d.Run; run.ID > 0 && (run.Phase.Moving() || run.Phase == fleet.PhasePaused) {
		c.tick()
		return c.planned(key, PlanOfRun, run.ID, most), nil
	}
	r := c.recorded(d)
	if r.err != nil {
		return Plan{}, r.err
	}
	spec := r.spec
	if spec.Problem != nil {
		return Plan{}, spec.Problem
	}
	if d.Spec.Revision == d.Run.Target.Revision || d.Rejected == d.Spec.ScoreHash {
		spec.Generation++
		spec.Hash = "of the next revision" // whatever that says
	}
	c.state.SetDeployment(spec)
	return c.planOf(key, PlanOfNext, most)
}

// maxRounds is how often decisions are asked for a plan: adopt, apply, supersede, start.
const maxRounds = 8

// planOf asks for decisions until a run begins.
func (c *Catalog) planOf(key fleet.Key, of string, most int) (Plan, error) {
	c.tick()
	c.state.Restored(0)
	var was uint64
	if d := c.View.Deployments[key]; d != nil {
		was, d.Requests = d.Run.ID, nil // what persons ask for is another matter
	}
	for range maxRounds {
		due, err := decide.Decide(c.state, decide.OfDeployment(key), c.Now)
		if err != nil {
			return Plan{}, fmt.Errorf("deployment %s: %w", key, err)
		}
		due = slices.DeleteFunc(due, func(d eventlog.Draft) bool { return d.Type.Family() != eventlog.FamilyDeployment })
		if len(due) == 0 {
			break
		}
		if err := c.foldDrafts(due); err != nil {
			return Plan{}, err
		}
		if run := c.View.Deployments[key].Run.ID; run != was {
			return c.planned(key, of, 0, most), nil
		}
	}
	p := c.planned(key, PlanOfNothing, 0, most)
	p.Notes = nil
	d := c.View.Deployments[key]
	if d.Rejected == d.Spec.ScoreHash {
		p.Notes = append(p.Notes, "what it says was refused after a failure, and is not tried again: change it, or fleetctl rollout retry")
	} else {
		p.Notes = append(p.Notes, fmt.Sprintf("it says what revision %d says, and nothing that a rollout is planned by: no device would be given anything", d.Spec.Revision))
	}
	return p, nil
}

// foldDrafts folds what was decided as if it had been appended.
func (c *Catalog) foldDrafts(due []eventlog.Draft) error {
	for _, d := range due {
		sequence := c.View.Sequence + 1
		m := d.Message("fleetctl", fmt.Sprintf("plan-%d", sequence))
		e, err := eventlog.Decode(m.Subject, m.Header, m.Data, sequence, c.Now)
		if err != nil {
			return fmt.Errorf("read %s: %w", d.Type, err)
		}
		fleet.Apply(c.View, e, eventlog.Check(e))
	}
	return nil
}

// planned reads the plan of the newest run off the placement.
func (c *Catalog) planned(key fleet.Key, of string, run uint64, most int) Plan {
	d := c.View.Deployments[key]
	p := Plan{
		Namespace: key.Namespace, Name: key.Name, Sequence: c.View.Sequence, Time: c.Now.UTC(), Of: of, Run: run,
		Kind: d.Run.Kind, Revision: d.Run.Target.Revision, Batches: []PlannedBatch{},
	}
	if r := runProgress(d); r != nil {
		p.From = r.From
	}
	shown, ok := c.state.Shown(key)
	if !ok {
		p.Notes = append(p.Notes, "nothing is decided about it: its custom resource is gone, or the spec has a problem")
		return p
	}
	set := &shown.Settings
	p.Strategy, p.Matched, p.Online, p.Limit = set.Strategy, shown.Matched, shown.Online, set.MostUnavailable(shown.Matched)
	p.Deadline, p.OnFailure = eventlog.Duration(set.Deadline), set.OnFailure
	if rollout.Immediate(&d.Run) {
		p.Limit = p.Matched
	}
	for i := range d.Run.Batches {
		b := set.Batch(&d.Run, i+1)
		p.Batches = append(p.Batches, PlannedBatch{Number: i + 1, Size: sizeText(b), Soak: eventlog.Duration(b.Soak), Gates: gateTexts(b.Gates), Approval: approvalOf(b), Names: []string{}})
	}
	for i := range shown.Devices {
		p.count(&shown.Devices[i], most)
	}
	p.sum(set)
	p.Defaults = defaults(d.Settings, set)
	p.note(d, set)
	return p
}

// count puts a device into its batch.
func (p *Plan) count(dev *decide.ShownDevice, most int) {
	if dev.Skipped != "" {
		i := slices.IndexFunc(p.Skipped, func(s SkippedByWhy) bool { return s.Reason == dev.Skipped })
		if i < 0 {
			i = len(p.Skipped)
			p.Skipped = append(p.Skipped, SkippedByWhy{Reason: dev.Skipped, Message: dev.Unfilled})
		}
		s := &p.Skipped[i]
		if s.Count++; len(s.Devices) < most {
			s.Devices = append(s.Devices, dev.ID)
		}
		return
	}
	if !dev.Online {
		p.Offline++
	}
	if dev.Batch < 1 || dev.Batch > len(p.Batches) {
		return
	}
	b := &p.Batches[dev.Batch-1]
	if b.Devices++; len(b.Names) < most {
		b.Names = append(b.Names, dev.ID)
	}
	switch {
	case dev.Given:
	case !dev.Has:
		b.First++
	case !dev.Online:
		b.Offline++
	default:
		b.Disruptions++
	}
}

// sum adds up what the batches say.
func (p *Plan) sum(set *rollout.Settings) {
	for i := range p.Batches {
		b := &p.Batches[i]
		b.Allowed = set.Allowed(b.Devices - b.Offline)
		if p.Limit > 0 {
			b.Waves = (b.Disruptions + p.Limit - 1) / p.Limit
		}
		p.Disruptions += b.Disruptions
		p.First += b.First
		if i == 0 && p.Of != PlanOfRun {
			p.AtRisk = b.Disruptions
		}
		if b.Disruptions+b.First > 0 {
			p.AtLeast += b.Soak
		}
		if b.Approval != eventlog.ApprovalAutomatic && i < len(p.Batches)-1 {
			p.Approvals++
		}
	}
}

// note adds what a person should know before.
func (p *Plan) note(d *fleet.Deployment, set *rollout.Settings) {
	say := func(format string, args ...any) { p.Notes = append(p.Notes, fmt.Sprintf(format, args...)) }
	if d.Hold != nil {
		say("%s holds the rollout: nothing moves before a resume", d.Hold.By)
	}
	if set.Paused {
		say("spec.rollout.paused is true: nothing moves before it is false")
	}
	for i, b := range d.Run.Batches {
		if b.Pinned && b.Size == 0 {
			say("the selector of batch %d selects no device: the rollout would pause at once (PinMatchesNothing)", i+1)
		}
	}
	if rollout.Immediate(&d.Run) && p.Disruptions > 0 {
		say("strategy Immediate: all devices are given it at once, and nothing is judged")
	}
	if p.Matched == 0 {
		say("no device matches the selector")
	}
	if len(set.Windows) > 0 && d.Run.Paced() {
		say("%s; nothing that runs is replaced, and no batch begins, outside of the windows of spec.rollout.windows", hoursText(set.Hours(&d.Run, p.Time)))
	}
	if set.Rate != nil && d.Run.Paced() {
		say("the rate is %s%s; for %s that takes at least %s",
			rollout.RateText(set.Rate, 0), growthText(set.Rate), rollout.DevicesText(p.Disruptions+p.First), leastOf(set.Rate, p.Disruptions+p.First))
	}
	for _, name := range set.DependsOn {
		say("each device waits until deployment/%s is healthy there", name)
	}
	if len(d.Run.Batches) == 1 && set.Strategy == eventlog.StrategyBatched && len(d.Settings.Batches) == 0 && d.Run.Kind == eventlog.RunUpdate {
		say("a first revision without batches is one batch without a soak: there is nothing that it could break")
	}
}

func growthText(r *eventlog.Rate) string {
	if r.Increase == nil {
		return ""
	}
	return fmt.Sprintf(" at first, and %d%% more after each %s that run it", r.Increase.Percent, rollout.DevicesText(r.Increase.AfterSucceeded))
}

// leastOf is the shortest time in which a rate lets so many devices be given something:
// as if each succeeded at once.
func leastOf(r *eventlog.Rate, devices int) time.Duration {
	var d time.Duration
	for n := range max(0, devices-1) {
		d += r.Interval(n)
	}
	return d.Round(time.Second)
}

// gateTexts says what each gate asks.
func gateTexts(gates []rollout.Gate) (texts []string) {
	for _, g := range gates {
		texts = append(texts, fmt.Sprintf("%s of Prometheus server %s: %s for %s", g.Name, g.Server, g.Wants(), g.For))
	}
	return texts
}

// hoursText says whether windows are open, and until when.
func hoursText(s window.State) string {
	switch at := s.Until.UTC().Format(time.RFC3339); {
	case s.Until.IsZero():
		return "no window ever opens"
	case s.Open:
		return "a window is open, at least until " + at
	default:
		return "the next window opens at " + at
	}
}

// defaults lists what the author did not say.
func defaults(said eventlog.RolloutSettings, set *rollout.Settings) []FilledDefault {
	var out []FilledDefault
	fill := func(is bool, field, value string) {
		if is {
			out = append(out, FilledDefault{field, value})
		}
	}
	fill(said.Strategy == "", "strategy", set.Strategy)
	if set.Strategy == eventlog.StrategyImmediate {
		return out
	}
	text := ""
	for i, b := range set.Batches {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s (soak %v)", sizeText(b), b.Soak)
	}
	fill(len(said.Batches) == 0, "batches", text)
	for i, b := range said.Batches {
		fill(b.Soak == nil, fmt.Sprintf("batches[%d].soak", i), set.Batches[i].Soak.String())
	}
	fill(said.SuccessThreshold == nil, "successThreshold", fmt.Sprintf("%d%%", set.Threshold))
	fill(said.MaxUnavailable == nil, "maxUnavailable", set.MaxUnavailable.String())
	fill(said.ProgressDeadline == nil, "progressDeadline", set.Deadline.String())
	fill(said.OfflineDevices == "", "offlineDevices", eventlog.OfflineSkip)
	fill(said.OnFailure == "", "onFailure", set.OnFailure)
	return out
}
