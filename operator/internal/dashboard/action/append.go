package action

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/endpoint"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/page"
	"fleet.nationtech.io/operator/internal/dashboard/person"
	"fleet.nationtech.io/operator/internal/dashboard/request"
	"fleet.nationtech.io/operator/internal/dashboard/respond"
)

// append appends a request. Where the operator would not even answer, it says why instead. What
// the author saw may be out of date: that the operator answers.
func (h *Handlers) append(ctx context.Context, p *person.Person, c choice, f request.Form) (uint64, error) {
	if c.Subject.Kind != model.OfRollout && !c.Action.Possible || c.Full {
		h.metrics.asked(c.Action.Name, resultImpossible)
		return 0, respond.Errorf(http.StatusConflict, "%s: %s. Nothing was done.", c.Subject, c.Action.WhyNot)
	}
	if err := h.limitRate(p, c.Action.Name); err != nil {
		return 0, err
	}
	receipt, err := request.Append(ctx, p, c.Subject, f.Token, f.Request, h.o.Now())
	if err == nil && receipt.Repeated {
		err = h.checkSame(ctx, receipt.Sequence, f.Request)
	}
	switch {
	case errors.Is(err, request.ErrForbidden):
		h.metrics.asked(c.Action.Name, resultForbidden)
		return 0, respond.Error{Code: http.StatusForbidden, Text: page.WhoMay(c.Subject)}
	case errors.Is(err, request.ErrUncertain):
		h.metrics.asked(c.Action.Name, resultUncertain)
		h.o.Logger.Warn("a person's request may be in the log, or not", "actor", p.Actor, "verb", f.Request.Verb, "about", c.Subject.String(), "error", err)
		return 0, errUncertain
	case errors.As(err, new(respond.Error)):
		h.metrics.asked(c.Action.Name, resultInvalid)
		return 0, err
	case err != nil:
		h.metrics.asked(c.Action.Name, resultFailed)
		h.o.Logger.Warn("cannot append a person's request", "actor", p.Actor, "verb", f.Request.Verb, "about", c.Subject.String(), "error", err)
		return 0, respond.Error{Code: http.StatusServiceUnavailable, Text: "The request could not be appended to the event log: " + err.Error() + ". Nothing was done."}
	}
	h.metrics.asked(c.Action.Name, resultAppended)
	h.o.Logger.Info("a person asked for something", "actor", p.Actor, "verb", f.Request.Verb, "about", c.Subject.String(), "sequence", receipt.Sequence)
	return receipt.Sequence, nil
}

// errUncertain says that a request may be in the log, or not.
var errUncertain = respond.Error{Code: http.StatusServiceUnavailable, Text: "The NATS servers did not acknowledge the request, so it may be in the event log, or not."}

// checkSame says why a request is not the one that came before with the same token; nil where it is
// (draft-ietf-httpapi-idempotency-key-header, section 2.7). It fails with request.ErrUncertain
// where that one cannot be read.
func (h *Handlers) checkSame(ctx context.Context, sequence uint64, q eventlog.Request) error {
	e, err := endpoint.ReadEvent(ctx, h.o.JS, sequence)
	if err != nil {
		return fmt.Errorf("%w: read event %d, which has its token: %w", request.ErrUncertain, sequence, err)
	}
	if before, err := eventlog.Payload[eventlog.Request](e); err != nil || before != q {
		return respond.Errorf(http.StatusUnprocessableEntity, "Request %d came before with the same token or %s, and asks for something else. This one was not done. See /requests/%d, and ask again from a page that is loaded now, or with another key.", sequence, IdempotencyKey, sequence)
	}
	return nil
}
