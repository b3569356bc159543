// Package template fills a score in for one device: its id and its labels stand where the
// author wrote $(device.id) and $(device.labels.KEY). It is pure.
//
// The canonical bytes (RFC 8785) of a score are cut at the places once. What a label's
// value can hold needs no escape in JSON, so what is spliced is canonical again, and its
// hash is that of the score that an author would have written for this device alone.
package template

import (
	"errors"
	"fmt"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/score"
)

// Reasons for which a score cannot be filled in for a device.
const (
	// ReasonMissing: the device does not have a label that the score names; or it set
	// the label itself, and the place is in an image or in a path of the host.
	ReasonMissing = "TemplateValueMissing"
	// ReasonInvalid: what comes of it is a score that the device would refuse.
	ReasonInvalid = "TemplateValueInvalid"
)

// Missing is the error for which the reason is ReasonMissing.
type Missing struct {
	Label string
	Field string // that has the place
	// Own says that the device has the label and set it itself, which an image and a path
	// of the host do not take: a device must not choose what it is sent.
	Own bool
}

func (m *Missing) Error() string { return m.On("DEVICE") }

// On says the same of a device, with what to do about it.
func (m *Missing) On(device string) string {
	if m.Own {
		return fmt.Sprintf("it reports label %s itself, and %s takes only labels that somebody else set: kubectl label device %s %s=VALUE --overwrite", m.Label, m.Field, device, m.Label)
	}
	return fmt.Sprintf("it has no label %s, which %s names: kubectl label device %s %s=VALUE", m.Label, m.Field, device, m.Label)
}

// Invalid is the error for which the reason is ReasonInvalid.
type Invalid struct{ Message string }

func (i *Invalid) Error() string { return i.Message }

// Reason gives the reason of an error of Render.
func Reason(err error) string {
	var m *Missing
	if errors.As(err, &m) {
		return ReasonMissing
	}
	return ReasonInvalid
}

// maxValue is the most characters of a device's id, and of a label's value.
const maxValue = 63

// maxChecked is how many values are remembered of which it is known whether they are good.
const maxChecked = 1024

// Template is a score that was cut at the places where it is filled in. It is not safe for
// concurrent use.
type Template struct {
	parts  [][]byte // between the places, one more than there are of those
	places []place
	length int // of the parts
	// checked has, by the values of all risky places, what a device would say of the score;
	// nil where no place is risky.
	checked map[string]*Invalid
}

// place is where a value is filled in.
type place struct {
	label  string // its key; empty: the device's id
	field  string
	chosen bool // the device must not choose the value
	// risky: a value can make the score one that the device would refuse, as a capital
	// letter does in an image's repository.
	risky bool
}

// Render gives the score for a device, in canonical form. labels are those that the log
// has of it, with who set each.
//
// Errors: *Missing and *Invalid.
func (t *Template) Render(device string, labels map[string]eventlog.OwnedLabel) ([]byte, error) {
	return t.Append(make([]byte, 0, t.length+len(t.places)*maxValue), device, labels)
}

// Append is Render into dst, which is empty and may have room.
func (t *Template) Append(dst []byte, device string, labels map[string]eventlog.OwnedLabel) ([]byte, error) {
	var risky []byte // the values
	dst = append(dst, t.parts[0]...)
	for i := range t.places {
		p := &t.places[i]
		value := device
		if p.label != "" {
			l, ok := labels[p.label]
			if own := l.Owner == eventlog.OwnerDevice; !ok || own && p.chosen {
				return nil, &Missing{Label: p.label, Field: p.field, Own: ok && own}
			}
			value = l.Value
		}
		if !plain(value) {
			return nil, &Invalid{fmt.Sprintf("%q cannot be the value of a label", value)}
		}
		if p.risky {
			risky = append(append(risky, value...), 0)
		}
		dst = append(append(dst, value...), t.parts[i+1]...)
	}
	if len(dst) > score.MaxBytes {
		return nil, &Invalid{fmt.Sprintf("filled in, the score is %d bytes, and %d at most fit into the event log", len(dst), score.MaxBytes)}
	}
	if t.checked != nil {
		if invalid := t.check(dst, risky); invalid != nil {
			return nil, invalid
		}
	}
	return dst, nil
}

// check says what a device would say of the score, which has these values in risky places.
// Many devices have the same.
func (t *Template) check(filled, risky []byte) *Invalid {
	invalid, known := t.checked[string(risky)]
	if known {
		return invalid
	}
	if _, err := score.Decode(filled); err != nil {
		invalid = &Invalid{"filled in, " + err.Error()}
	}
	if len(t.checked) == maxChecked {
		clear(t.checked)
	}
	t.checked[string(risky)] = invalid
	return invalid
}

// plain says whether a value is one that a label can have: it needs no escape in JSON.
func plain(value string) bool {
	if len(value) > maxValue {
		return false
	}
	for i := range len(value) {
		switch c := value[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return true
}
