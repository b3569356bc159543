package decide

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/template"
)

// cut is a target's template, which is made once a target.
type cut struct {
	hash string             // of the target
	of   *template.Template // nil: all devices get the same
}

// rendered is what a target came to on the device of a place, by labels that the log had.
type rendered struct {
	target, labels string // the target's hash, and the event that told the labels
	rollout.Rendering
}

// template gives what of a target, the run's or the stable one, is filled in for each
// device; nil: nothing is.
func (pl *placement) template(t *fleet.Target) *template.Template {
	c := &pl.cuts[0]
	if t == &pl.phase.log.Stable {
		c = &pl.cuts[1]
	}
	if c.hash != t.Hash {
		*c = cut{t.Hash, template.Of(t.Score)}
	}
	return c.of
}

// rendering gives what a target, else the run's, comes to on a device. It is found out
// once for each target and whenever the log learns other labels. learnt says that the log
// has the labels which the API shows, where anything follows from those.
func (s *State) rendering(p *place, t *fleet.Target) (r rollout.Rendering, learnt bool) {
	if t == nil {
		t = &p.of.phase.log.Run.Target
	}
	tmpl := p.of.template(t)
	if tmpl == nil {
		p.rendered = nil
		return rollout.Rendering{Hash: t.Hash}, true
	}
	dev := p.dev
	if dev == nil {
		dev = &fleet.Device{ID: p.id}
	}
	if p.rendered == nil || p.rendered.target != t.Hash || p.rendered.labels != dev.LabelsID {
		p.rendered = &rendered{t.Hash, dev.LabelsID, rollout.Render(tmpl, t, dev)}
		if pair := p.pair(); pair != nil && pair.Desired.Hash == p.rendered.Hash {
			p.rendered.Hash = pair.Desired.Hash // kept once
		}
	}
	return p.rendered.Rendering, p.labels == nil || maps.Equal(dev.Labels, p.labels.owned)
}

// unfilled says which value is missing for which a device is skipped, and what to do;
// empty: it is not skipped for that.
func (p *place) unfilled() string {
	if p.rendered == nil || p.values.skipped == "" || p.rendered.Skips() != p.values.skipped {
		return ""
	}
	return rollout.Unfilled(p.rendered.Err, p.id)
}

// causeOf is the event because of which a device is given a target: the one that told its
// labels, where it has the target with other values.
func (c deploymentCase) causeOf(p *place, t *fleet.Target) string {
	if pair := p.pair(); pair != nil && pair.Has(t) {
		return p.dev.LabelsID
	}
	return c.cause()
}

// assigned gives the device of a place a target, filled in for it, as of a batch (0:
// outside of a run). false: it cannot be filled in, which a look at the place has shown
// before.
func (c deploymentCase) assigned(p *place, cause string, t *fleet.Target, batch int) (eventlog.Draft, bool) {
	d := eventlog.Draft{
		Subject: eventlog.DesiredSubject(p.id, c.key.Name), Type: eventlog.DesiredAssigned, Time: c.now,
		CorrelationID: correlation(c.key, t.Revision), CausationID: cause,
		Namespace: c.key.Namespace, Revision: t.Revision, Batch: batch, Data: t.Score,
	}
	tmpl := p.of.template(t)
	if tmpl == nil {
		return d, true
	}
	if p.dev == nil {
		return d, false
	}
	var err error
	d.Template = t.Hash
	d.Data, err = tmpl.Render(p.id, p.dev.Labels)
	return d, err == nil
}

// LabelRestart is the label of containers whose value a restart raises. It is not among
// the labels that agents keep for themselves, so that agents of every version take it.
const LabelRestart = "rollout.nationtech.io/restart"

// restarted gives a score whose containers differ from the given one's by their restart
// alone: the label of each service is set to the number.
func restarted(score []byte, number uint64) ([]byte, error) {
	tagged, err := eventlog.DecodeScore(score)
	if err != nil {
		return nil, err
	}
	var data map[string]json.RawMessage
	var services []map[string]json.RawMessage
	if err := json.Unmarshal(tagged.Data, &data); err != nil {
		return nil, fmt.Errorf("read the score's data: %w", err)
	}
	if err := json.Unmarshal(data["services"], &services); err != nil {
		return nil, fmt.Errorf("read the score's services: %w", err)
	}
	for _, s := range services {
		labels := map[string]string{}
		if raw := s["labels"]; len(raw) > 0 {
			if err := json.Unmarshal(raw, &labels); err != nil {
				return nil, fmt.Errorf("read a service's labels: %w", err)
			}
		}
		labels[LabelRestart] = strconv.FormatUint(number, 10)
		if s["labels"], err = json.Marshal(labels); err != nil {
			return nil, fmt.Errorf("encode a service's labels: %w", err)
		}
	}
	if data["services"], err = json.Marshal(services); err != nil {
		return nil, fmt.Errorf("encode the services: %w", err)
	}
	if tagged.Data, err = json.Marshal(data); err != nil {
		return nil, fmt.Errorf("encode the score's data: %w", err)
	}
	return tagged.Canonical()
}
