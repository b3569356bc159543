package decide

import (
	"errors"
	"fmt"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/template"
)

// Reasons of the events of a rollout that no status has.
const (
	ReasonApplied    = "Applied"
	ReasonSuperseded = "Superseded"
)

// rolloutRules are the state machine of a Deployment's rollout: the first row that
// holds gives its event, and the table is asked again once that is folded. The rows of
// requests go before these, see answerRequest.
var rolloutRules = []rule[deploymentCase]{
	standStill,
	supersede,
	replan,
	pauseRestored,
	pauseUnmatchedPin,
	restOfTable,
}

// standStill: what is not decided about goes no further, and neither does a rollout of
// a spec that the log does not have.
func standStill(c deploymentCase) ([]eventlog.Draft, bool, error) {
	return nil, c.place == nil || !c.current(c.spec), nil
}

// supersede (S2): another content is asked for than the run brings out.
func supersede(c deploymentCase) ([]eventlog.Draft, bool, error) {
	want, run := c.log.SpecTarget(), &c.log.Run
	if c.log.Rejected == want.Content || run.Target.Revision == want.Revision && run.Kind != eventlog.RunRollback &&
		run.Phase != fleet.PhaseNone && run.Phase != fleet.PhaseSuperseded && (!rollout.Unmatched(run) || c.place.matched == 0) {
		return nil, false, nil
	}
	if run.Phase.Moving() || run.Phase == fleet.PhasePaused {
		return c.event(eventlog.RolloutSuperseded, eventlog.Rollout{
			Reason: ReasonSuperseded, Message: fmt.Sprintf("revision %d takes the place of revision %d", want.Revision, run.Target.Revision),
		})
	}
	return c.start(startOf{target: want, reason: ReasonApplied})
}

// replan (S3): the sizes or selectors of the batches differ from those that were
// planned.
func replan(c deploymentCase) ([]eventlog.Draft, bool, error) {
	run := &c.log.Run
	if run.Kind != eventlog.RunUpdate || run.Phase == fleet.PhaseCompleted || c.log.Rejected != "" || c.place.set.Shape == run.Shape {
		return nil, false, nil
	}
	return c.start(startOf{target: c.log.SpecTarget(), reason: v1alpha1.ReasonPlanChanged})
}

// pauseRestored (S4): the log was restored from an archive, which may be older than
// what devices run. A person looks before a run goes on.
func pauseRestored(c deploymentCase) ([]eventlog.Draft, bool, error) {
	run := &c.log.Run
	if run.Sequence > c.restored || rollout.Immediate(run) || !run.Phase.Moving() {
		return nil, false, nil
	}
	return c.event(eventlog.RolloutPaused, eventlog.Rollout{
		Reason: v1alpha1.ReasonLogRestored, Message: "the event log was restored from an archive while this rollout was on its way; look at the devices, then resume or undo",
	})
}

// pauseUnmatchedPin: the selector of a batch selects no device. A slip of the pen must
// not pass for a canary that succeeded.
func pauseUnmatchedPin(c deploymentCase) ([]eventlog.Draft, bool, error) {
	run := &c.log.Run
	if run.Phase != fleet.PhaseProgressing || run.Resumed || run.Batch != 1 || run.Passed {
		return nil, false, nil
	}
	for i, b := range run.Batches {
		if b.Pinned && b.Size == 0 {
			return c.event(eventlog.RolloutPaused, eventlog.Rollout{
				Reason: v1alpha1.ReasonPinMatchesNothing, Message: fmt.Sprintf(
					"the selector of batch %d selects no device that matches; correct spec.rollout.batches[%d].selector, or resume to go on without such devices", i+1, i),
			})
		}
	}
	return nil, false, nil
}

// restOfTable are the rows B0 to B13.
func restOfTable(c deploymentCase) ([]eventlog.Draft, bool, error) {
	run := &c.log.Run
	switch {
	case !run.Phase.Moving() || c.place.set.Held(c.log):
		return nil, false, nil
	case rollout.Immediate(run):
		return c.completeImmediate()
	case run.Phase == fleet.PhaseRollingBack:
		return c.rollBack()
	case run.Passed, run.Failed && c.place.set.OnFailure == eventlog.OnFailureContinue:
		return c.goOn()
	case run.Failed:
		return c.afterFailure(c.counts())
	case c.place.matched == 0:
		return c.event(eventlog.RolloutCompleted, eventlog.Rollout{Reason: fleet.ReasonNoDeviceMatches})
	case !c.heard():
		return nil, false, nil
	case run.Full:
		if c.place.classes[rollout.Waiting] == 0 {
			return c.event(eventlog.RolloutBatchSucceeded, eventlog.Rollout{Batch: run.Batch, Counts: c.counts()})
		}
		return c.pauseExhausted()
	}
	return c.judge()
}

func (c deploymentCase) completeImmediate() ([]eventlog.Draft, bool, error) {
	if c.place.matched == 0 || c.place.standings[rollout.Healthy] != c.place.matched {
		return nil, false, nil
	}
	return c.event(eventlog.RolloutCompleted, eventlog.Rollout{})
}

// rollBack (B1, B2): a rollback is through when no online device holds anything else
// and none is at work.
func (c deploymentCase) rollBack() ([]eventlog.Draft, bool, error) {
	left, open := c.place.classes[rollout.Waiting], c.place.classes[rollout.Open]
	switch {
	case left+open == 0:
		return c.event(eventlog.RolloutRolledBack, eventlog.Rollout{})
	case open == 0 && !c.place.grantable() && !c.Clock().Before(c.place.stuckAt()):
		return c.event(eventlog.RolloutPaused, eventlog.Rollout{
			Reason: v1alpha1.ReasonRollbackFailed, Counts: c.counts(), Examples: c.examples(), Message: fmt.Sprintf(
				"%s still %s what is rolled back, and no more may be unavailable; mend the devices that fail, then resume", rollout.DevicesText(left), rollout.Verb(left, "runs", "run")),
		})
	}
	return nil, false, nil
}

// goOn (B3, B4): the open batch is through.
func (c deploymentCase) goOn() ([]eventlog.Draft, bool, error) {
	run := &c.log.Run
	if run.Batch >= len(run.Batches) {
		return c.event(eventlog.RolloutCompleted, eventlog.Rollout{})
	}
	if b := c.place.set.Batch(run, run.Batch); b.Manual && !run.Let && !run.Full {
		return nil, false, nil // until a person promotes it
	}
	if !c.place.hours.Open {
		return nil, false, nil
	}
	return c.event(eventlog.RolloutBatchStarted, eventlog.Rollout{Batch: run.Batch + 1})
}

// startOf is what a run is started with.
type startOf struct {
	target  fleet.Target
	kind    string // empty: what the strategy says
	reason  string
	request *fleet.Request
	restart uint64
}

// start gives rollout.started: the plan is frozen in it.
func (c deploymentCase) start(o startOf) ([]eventlog.Draft, bool, error) {
	set := &c.place.set
	r := eventlog.Rollout{
		Revision: o.target.Revision, ScoreHash: o.target.Content, Kind: o.kind, Strategy: set.Strategy, Reason: o.reason,
		Devices: c.place.matched, Online: c.place.online, Restart: o.restart,
	}
	if r.Kind == "" {
		r.Kind = eventlog.RunUpdate
		if set.Strategy == eventlog.StrategyImmediate {
			r.Kind = eventlog.RunImmediate
		}
	}
	if o.target.Hash != c.log.Spec.ScoreHash {
		r.Score = o.target.Score
	}
	if r.Kind == eventlog.RunImmediate || r.Kind == eventlog.RunRollback || set.First(c.log) {
		r.Batches = rollout.FirstCuts(c.place.matched)
	} else {
		var err error
		if r.Batches, err = set.Cuts(c.candidates(&o.target)); err != nil && !errors.Is(err, rollout.ErrPinMatchesNothing) {
			return nil, true, err
		}
	}
	if r.Kind == eventlog.RunUpdate {
		r.Shape = set.Shape
	}
	if r.Kind == eventlog.RunRollback {
		r.From = c.log.Run.Target.Revision
	}
	return c.answered(eventlog.RolloutStarted, r, o.request)
}

// candidates are the devices that match, for a plan. One for which the target cannot be
// filled in is no canary: it would be given nothing.
func (c deploymentCase) candidates(t *fleet.Target) []rollout.Candidate {
	tmpl := template.Of(t.Score)
	cs := make([]rollout.Candidate, 0, c.place.matched)
	for _, p := range c.place.places {
		if !p.values.matches {
			continue
		}
		answers := p.values.online
		if tmpl != nil && answers {
			r := rollout.Render(tmpl, t, p.dev)
			answers = r.Err == nil
		}
		cs = append(cs, rollout.Candidate{Order: p.order, Pin: c.place.set.Pin(p.labelSet()), Online: answers})
	}
	return cs
}

// event gives an event of the present run.
func (c deploymentCase) event(t eventlog.Type, r eventlog.Rollout) ([]eventlog.Draft, bool, error) {
	return c.answered(t, r, nil)
}

// answered gives an event of the present run that answers a request, if any.
func (c deploymentCase) answered(t eventlog.Type, r eventlog.Rollout, q *fleet.Request) ([]eventlog.Draft, bool, error) {
	run := &c.log.Run
	if t != eventlog.RolloutStarted {
		r.Revision, r.ScoreHash, r.Run = run.Target.Revision, run.Target.Content, run.ID
		if r.Revision == 0 {
			r.Revision = c.log.Spec.Revision
		}
		r.Kind = run.Kind
		if r.Devices == 0 && c.place != nil {
			r.Devices = c.place.matched
		}
	}
	if r.Strategy == "" {
		r.Strategy = run.Strategy
	}
	cause := c.cause()
	if q != nil {
		r.Request, r.Verb, cause = q.Mark.Sequence, q.Verb, causeOf(q.Mark)
		if r.Message == "" {
			r.Message = clip(q.Reason, maxProblem)
		}
	}
	d, err := eventlog.NewDraft(eventlog.DeploymentSubject(c.key.Namespace, c.key.Name), t, c.now, r)
	d.CorrelationID, d.CausationID = correlation(c.key, r.Revision), cause
	if q != nil {
		d.Actor = q.User
	}
	return []eventlog.Draft{d}, true, err
}

// cause is the event because of which a run goes on: the spec's.
func (c deploymentCase) cause() string { return c.log.Applied.ID }
