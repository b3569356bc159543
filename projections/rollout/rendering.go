package rollout

import (
	"errors"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/template"
)

// Rendering is what a target comes to on one device: the hash of what the device is to
// get, or why it can get nothing.
type Rendering struct {
	Hash string
	Err  error // nil, *template.Missing or *template.Invalid
}

// Render fills a target in for a device, by the labels that the log has of it. tmpl is
// the target's template, nil where all devices get the same.
func Render(tmpl *template.Template, t *fleet.Target, dev *fleet.Device) Rendering {
	if tmpl == nil {
		return Rendering{Hash: t.Hash}
	}
	score, err := tmpl.Render(dev.ID, dev.Labels)
	if err != nil {
		return Rendering{Err: err}
	}
	return Rendering{Hash: eventlog.Hash(score)}
}

// On says whether a pair has the target of the Deployment's present run with the values
// that are filled in for the device now. r is what that target comes to there.
func (r *Rendering) On(d *fleet.Deployment, p *fleet.Assignment) bool {
	return Member(d, p) && r.Err == nil && p.Desired.Hash == r.Hash
}

// Unfilled says of the error of a Rendering what to do about it on a device.
func Unfilled(err error, device string) string {
	var missing *template.Missing
	if errors.As(err, &missing) {
		return missing.On(device)
	}
	return err.Error()
}

// Skips gives why a device that has not what it should have is not given it: empty, or a
// reason of package template.
func (r *Rendering) Skips() string {
	if r.Err == nil {
		return ""
	}
	return template.Reason(r.Err)
}
