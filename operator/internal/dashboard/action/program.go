package action

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/person"
	"fleet.nationtech.io/operator/internal/dashboard/request"
	"fleet.nationtech.io/operator/internal/dashboard/respond"
	"fleet.nationtech.io/operator/resource"
)

// Ask is what a program asks for.
type Ask struct {
	Verb       string `json:"verb"`
	Full       bool   `json:"full,omitempty"` // of promote: what is left is not judged
	Reason     string `json:"reason,omitempty"`
	Revision   uint64 `json:"revision,omitempty"` // what the author saw of the rollout, as the page's JSON has it under seen
	Run        uint64 `json:"run,omitempty"`
	Batch      int    `json:"batch,omitempty"`
	ToRevision uint64 `json:"to_revision,omitempty"` // of undo; 0: what was stable before
}

// action is the name of the action that is asked for.
func (a *Ask) action() string {
	if a.Full && a.Verb == eventlog.RequestPromote {
		return resource.ActionPromoteFull
	}
	return a.Verb
}

// readAsk reads what a program asks for.
func readAsk(w http.ResponseWriter, r *http.Request) (a Ask, err error) {
	if err := bounded(w, r, respond.JSONType); err != nil {
		return a, err
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&a); err != nil {
		return a, respond.Error{Code: http.StatusBadRequest, Text: "The body cannot be read: " + err.Error() + "."}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) { // More would let a bracket pass
		return a, respond.Error{Code: http.StatusBadRequest, Text: "The body has more than one value."}
	}
	if a.Full && a.Verb != eventlog.RequestPromote {
		return a, respond.Error{Code: http.StatusBadRequest, Text: "full belongs to the verb promote."}
	}
	if a.ToRevision > 0 && a.Verb != eventlog.RequestUndo {
		return a, respond.Error{Code: http.StatusBadRequest, Text: "to_revision belongs to the verb undo."}
	}
	if a.Reason, err = request.Reason(a.Reason); err != nil {
		return a, respond.BadRequest(err)
	}
	return a, nil
}

// IdempotencyKey is the header by which a program says that a request is the one it sent
// before (draft-ietf-httpapi-idempotency-key-header).
const IdempotencyKey = "Idempotency-Key"

// errNoToken refuses a request for programs that a browser's session makes.
var errNoToken = respond.Error{Code: http.StatusForbidden, Text: "Show a token in the header Authorization: Bearer. A browser's session is not enough here."}

// ask does what a program asks for. It shows a token: a browser's cookie is not enough, so
// that no page can have a browser send this.
func (h *Handlers) ask(kind string) func(http.ResponseWriter, *http.Request) (int, error) {
	return func(w http.ResponseWriter, r *http.Request) (int, error) {
		about, err := subject(r, kind)
		if err != nil {
			return 0, err
		}
		if !hasToken(r) {
			return 0, errNoToken
		}
		wait, err := waitOf(r.URL.Query())
		if err != nil {
			return 0, err
		}
		token := cmp.Or(strings.Trim(r.Header.Get(IdempotencyKey), `"`), rand.Text())
		if !request.IsToken(token) {
			return 0, respond.Error{Code: http.StatusBadRequest, Text: IdempotencyKey + " has 16 to 64 letters, digits, hyphens and underscores."}
		}
		a, err := readAsk(w, r)
		if err != nil {
			return 0, err
		}
		ctx, cancel := context.WithTimeout(r.Context(), requestTime)
		defer cancel()
		c, err := h.choose(ctx, about, a.action())
		if err != nil {
			return 0, err
		}
		if c.Action.Name == eventlog.VerbPing {
			return 0, respond.Error{Code: http.StatusBadRequest, Text: "A ping is no request of the operator: POST " + respond.APIPath + "devices/" + about.Device + "/ping."}
		}
		p := person.Of(ctx)
		if err := h.authorize(p, about, c.Action.Name); err != nil {
			return 0, err
		}
		f := request.Form{Token: token, Request: c.Action.Request()}
		f.Request.Reason, f.Request.Revision, f.Request.Run, f.Request.Batch, f.Request.ToRevision = a.Reason, a.Revision, a.Run, a.Batch, a.ToRevision
		sequence, err := h.append(ctx, p, c, f)
		switch {
		case errors.Is(err, errUncertain) && r.Header.Get(IdempotencyKey) == "":
			return 0, respond.Error{Code: errUncertain.Code, Text: errUncertain.Text + " It had no " + IdempotencyKey + ": look into the history before you ask again."}
		case errors.Is(err, errUncertain):
			return 0, respond.Error{Code: errUncertain.Code, Text: errUncertain.Text + " Send it again with the same " + IdempotencyKey + ": within two minutes that does not ask twice."}
		case err != nil:
			return 0, err
		}
		w.Header().Set("Location", respond.APIPath+"requests/"+strconv.FormatUint(sequence, 10))
		q, err := h.outcome(r.Context(), sequence, func(*model.Request) time.Duration { return wait })
		if err != nil { // the request is in the log all the same
			h.o.Logger.Debug("what became of a request cannot be read", "sequence", sequence, "error", err)
		}
		if q.Sequence == 0 {
			q = model.NewRequest(sequence, about, p.Actor, f.Request, h.o.Now())
		}
		if q.State == model.RequestOpen {
			return respond.JSON(w, http.StatusAccepted, q)
		}
		return respond.JSON(w, http.StatusOK, q)
	}
}

// pingJSON asks a device whether it is there.
func (h *Handlers) pingJSON(w http.ResponseWriter, r *http.Request) (int, error) {
	about, err := subject(r, model.OfDevice)
	if err != nil {
		return 0, err
	}
	if !hasToken(r) {
		return 0, errNoToken
	}
	p := person.Of(r.Context())
	if err := h.authorize(p, about, eventlog.VerbPing); err != nil {
		return 0, err
	}
	pong, err := h.pingDevice(r.Context(), p, about)
	if err != nil {
		return 0, err
	}
	return respond.JSON(w, http.StatusOK, pong)
}
