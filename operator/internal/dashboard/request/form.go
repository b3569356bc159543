package request

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/resource"
)

// maxReason bounds the reason that a person gives, in characters.
const maxReason = 500

// Fields of a form.
const (
	FieldToken      = "token"       // the same for the same form, however often it is sent
	FieldReason     = "reason"      // why, for the log
	FieldRevision   = "revision"    // what the author saw, as the two below
	FieldRun        = "run"         //
	FieldBatch      = "batch"       //
	FieldToRevision = "to_revision" // where undo goes
	FieldConfirm    = "confirm"     // of a dangerous action
)

// Form is what a person asks for by a form.
type Form struct {
	Token   string
	Request eventlog.Request
}

// ReadForm reads the form of an action. Its errors are sentences for the person.
func ReadForm(values url.Values, about model.Subject, a resource.Action) (Form, error) {
	known := []string{FieldToken, FieldReason, FieldRevision, FieldRun, FieldBatch, FieldToRevision, FieldConfirm}
	for name, v := range values {
		if !slices.Contains(known, name) || len(v) > 1 {
			return Form{}, fmt.Errorf("the form has a field %q that is not its own, or has it twice: load its page again", name)
		}
	}
	f := Form{Token: values.Get(FieldToken), Request: a.Request()}
	if !IsToken(f.Token) {
		return f, fmt.Errorf("the form has no token: load its page again")
	}
	var err error
	if f.Request.Reason, err = Reason(values.Get(FieldReason)); err != nil {
		return f, err
	}
	if about.Kind == model.OfRollout {
		if err := f.seen(values); err != nil {
			return f, err
		}
	}
	if want := about.Confirmation(a); want != "" && values.Get(FieldConfirm) != want {
		if want == model.Confirmed {
			return f, fmt.Errorf("tick that you want to %s %s", a.Name, about)
		}
		return f, fmt.Errorf("type %s to confirm that the device leaves the fleet", want)
	}
	return f, nil
}

// seen reads what the author saw of the rollout.
func (f *Form) seen(values url.Values) error {
	number := func(name string) (n uint64, err error) {
		text := values.Get(name)
		if text == "" {
			return 0, nil
		}
		if n, err = strconv.ParseUint(text, 10, 63); err != nil {
			return 0, fmt.Errorf("%s: %q is no number: load the page again", name, text)
		}
		return n, nil
	}
	q := &f.Request
	var err error
	if q.Revision, err = number(FieldRevision); err != nil {
		return err
	}
	if q.Run, err = number(FieldRun); err != nil {
		return err
	}
	batch, err := number(FieldBatch)
	if err != nil || batch > 1<<31 {
		return fmt.Errorf("%s: it is no number of a batch: load the page again", FieldBatch)
	}
	q.Batch = int(batch)
	if q.Verb == eventlog.RequestUndo {
		q.ToRevision, err = number(FieldToRevision)
	}
	return err
}

// Reason reads why a person asks for something.
func Reason(text string) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case !utf8.ValidString(text):
		return "", fmt.Errorf("the reason is no text in UTF-8")
	case utf8.RuneCountInString(text) > maxReason:
		return "", fmt.Errorf("the reason has more than %d characters", maxReason)
	case strings.ContainsFunc(text, unicode.IsControl):
		return "", fmt.Errorf("the reason has a line break, or another control character")
	}
	return text, nil
}

// IsToken says whether a text can be a token: 16 to 64 letters, digits, hyphens or underscores.
func IsToken(text string) bool {
	if len(text) < 16 || len(text) > 64 {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}
