package attention

import (
	"errors"
	"fmt"
	"slices"

	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/selectors"
	"fleet.nationtech.io/projections/template"
)

// unfilled is about devices for which the score cannot be filled in. Of a Deployment whose
// score is the same everywhere nothing is looked at.
func (l *list) unfilled(v *fleet.View, d *fleet.Deployment) {
	tmpl := template.Of(d.Spec.Score)
	if tmpl == nil {
		return
	}
	type kind struct{ reason, label string }
	var room []byte
	devices, firsts, texts := map[kind][]string{}, map[kind]string{}, map[kind]string{}
	for id, dev := range v.Devices {
		if dev.Labels == nil || dev.Out() || !selectors.Selects(d.Spec.Selector, l.bare(dev)) {
			continue
		}
		score, err := tmpl.Append(room[:0], id, dev.Labels)
		if room = score; err == nil {
			continue
		}
		k := kind{reason: template.Reason(err)}
		if missing := (*template.Missing)(nil); errors.As(err, &missing) {
			k.label = missing.Label
		}
		if firsts[k] == "" || id < firsts[k] {
			firsts[k], texts[k] = id, rollout.Unfilled(err, id)
		}
		devices[k] = append(devices[k], id)
	}
	for k, ids := range devices {
		first := firsts[k]
		slices.Sort(ids)
		i := about(d, ValueMissing, Warning)
		i.Devices, i.Examples, i.Since = len(ids), ids[:min(len(ids), maxExamples)], d.Applied.At
		i.Title = fmt.Sprintf("%s cannot be filled in for %s", d.Key, rollout.DevicesText(len(ids)))
		i.Reason = fmt.Sprintf("%s: %s; what a device has stays (%s)", first, texts[k], k.reason)
		i.Command = fmt.Sprintf("fleetctl explain device/%s deployment/%s -n %s", first, d.Key.Name, d.Key.Namespace)
		l.add(i)
	}
}

// bare gives the labels of a device without their owners, made once.
func (l *list) bare(d *fleet.Device) map[string]string {
	b, ok := l.labels[d]
	if !ok {
		if l.labels == nil {
			l.labels = map[*fleet.Device]map[string]string{}
		}
		b = selectors.Bare(d.Labels)
		l.labels[d] = b
	}
	return b
}

// cycle is about a Deployment that depends on itself.
func (l *list) cycle(v *fleet.View, d *fleet.Deployment) {
	if len(d.Settings.DependsOn) == 0 || !rollout.Cyclic(v, d.Key) {
		return
	}
	i := about(d, DependencyCycle, Warning)
	i.Title, i.Since = d.Key.String()+" depends on itself", d.Applied.At
	i.Reason = "it does so by way of spec.rollout.dependsOn, so that devices wait for ever: correct that of one of the Deployments on the way"
	i.Command = fmt.Sprintf("kubectl edit fleetdep %s -n %s", d.Key.Name, d.Key.Namespace)
	l.add(i)
}
