package action

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strconv"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/page"
	"fleet.nationtech.io/operator/internal/dashboard/person"
	"fleet.nationtech.io/operator/internal/dashboard/request"
	"fleet.nationtech.io/operator/internal/dashboard/respond"
)

// form answers with the page of an action.
func (h *Handlers) form(kind string) func(http.ResponseWriter, *http.Request) (int, error) {
	return func(w http.ResponseWriter, r *http.Request) (int, error) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTime)
		defer cancel()
		about, err := subject(r, kind)
		if err != nil {
			return 0, err
		}
		c, err := h.choose(ctx, about, r.PathValue("action"))
		if err != nil {
			return 0, err
		}
		if err := may(person.Of(ctx), about, c.Action.Name); err != nil {
			return 0, err
		}
		return h.formPage(w, r, http.StatusOK, c, page.ActionForm{Seen: c.Seen, Token: rand.Text()})
	}
}

// formPage writes the page of an action.
func (h *Handlers) formPage(w http.ResponseWriter, r *http.Request, code int, c choice, f page.ActionForm) (int, error) {
	f.Actions, f.Action = c.Actions, c.Action
	return h.page(w, r, code, page.Page{Name: page.Action, Title: c.Action.Title + " " + c.Subject.String(), Model: f})
}

// act does what a form asks for, and leads to the page that says what became of it.
func (h *Handlers) act(kind string) func(http.ResponseWriter, *http.Request) (int, error) {
	return func(w http.ResponseWriter, r *http.Request) (int, error) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTime)
		defer cancel()
		about, err := subject(r, kind)
		if err != nil {
			return 0, err
		}
		if err := fromOwnPage(r); err != nil {
			h.metrics.asked(r.PathValue("action"), resultNoOrigin)
			return 0, err
		}
		if err := bounded(w, r, formType); err != nil {
			return 0, err
		}
		if err := r.ParseForm(); err != nil {
			return 0, respond.Error{Code: http.StatusBadRequest, Text: "The form cannot be read: " + err.Error() + "."}
		}
		c, err := h.choose(ctx, about, r.PathValue("action"))
		if err != nil {
			return 0, err
		}
		p := person.Of(ctx)
		if err := h.authorize(p, about, c.Action.Name); err != nil {
			return 0, err
		}
		f, err := request.ReadForm(r.PostForm, about, c.Action)
		if err != nil {
			h.metrics.asked(c.Action.Name, resultInvalid)
			return h.formPage(w, r, http.StatusBadRequest, c, page.ActionForm{
				Seen: seen(f), Token: rand.Text(), Reason: r.PostForm.Get(request.FieldReason), Problem: err.Error() + ".",
			})
		}
		if c.Action.Name == eventlog.VerbPing {
			return h.ping(ctx, w, r, p, about)
		}
		sequence, err := h.append(ctx, p, c, f)
		if errors.Is(err, errUncertain) { // the same form may be sent again, and no other: that would ask twice
			return h.formPage(w, r, errUncertain.Code, c, page.ActionForm{
				Seen: seen(f), Token: f.Token, Reason: f.Request.Reason, ToRevision: f.Request.ToRevision, Problem: errUncertain.Text + " Send this form again: within two minutes that does not ask twice.",
			})
		}
		if err != nil {
			return 0, err
		}
		w.Header().Set("Location", "/requests/"+strconv.FormatUint(sequence, 10))
		w.WriteHeader(http.StatusSeeOther)
		return http.StatusSeeOther, nil
	}
}

// seen is what the author of a form saw of the rollout.
func seen(f request.Form) model.Seen {
	return model.Seen{Revision: f.Request.Revision, Run: f.Request.Run, Batch: f.Request.Batch}
}

// ping asks a device whether it is there, and answers at once: it changes nothing, so a page
// that is loaded again may ask again.
func (h *Handlers) ping(ctx context.Context, w http.ResponseWriter, r *http.Request, p *person.Person, about model.Subject) (int, error) {
	pong, err := h.pingDevice(ctx, p, about)
	if err != nil {
		return 0, err
	}
	return h.page(w, r, http.StatusOK, page.Page{Name: page.Ping, Title: "Ping " + about.Device, Model: pong})
}

// pingDevice asks a device, and counts what came of it.
func (h *Handlers) pingDevice(ctx context.Context, p *person.Person, about model.Subject) (model.Pong, error) {
	if err := h.limitRate(p, eventlog.VerbPing); err != nil {
		return model.Pong{}, err
	}
	pong, err := request.Ping(ctx, p, about.Device)
	switch {
	case errors.Is(err, request.ErrForbidden):
		h.metrics.asked(eventlog.VerbPing, resultForbidden)
		return pong, respond.Error{Code: http.StatusForbidden, Text: page.WhoMay(about)}
	case err != nil:
		h.metrics.asked(eventlog.VerbPing, resultFailed)
		return pong, respond.Error{Code: http.StatusServiceUnavailable, Text: "The device could not be asked: " + err.Error() + "."}
	case pong.Answered:
		h.metrics.asked(eventlog.VerbPing, resultAnswered)
	default:
		h.metrics.asked(eventlog.VerbPing, resultSilent)
	}
	return pong, nil
}
