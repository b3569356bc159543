package action

import (
	"net/http"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/page"
	"fleet.nationtech.io/operator/internal/dashboard/person"
	"fleet.nationtech.io/operator/internal/dashboard/respond"
)

// Acts is what the person who asks for a page may do there, as far as the page depends on it: those
// who may do the same are shown the same.
func Acts(name string, r *http.Request) page.Acts {
	p := person.Of(r.Context())
	if p == nil {
		return page.ActsNobody
	}
	kind := map[string]string{page.Rollout: model.OfRollout, page.Deployment: model.OfDeployment, page.Device: model.OfDevice}[name]
	switch {
	case name == page.Overview && mayAsk(p):
		return page.ActsOperator
	case kind != "":
		if about, err := subject(r, kind); err == nil && p.May(about.Asks(p.Actor)) {
			return page.ActsOperator
		}
	}
	return page.ActsViewer
}

// mayAsk says whether a person may ask for something about any Deployment: an operator of all
// namespaces. The overview offers actions of all of them, and is one page for a class of rights.
func mayAsk(p *person.Person) bool {
	return p.May(eventlog.RequestSubject(p.Actor, eventlog.Wildcard, eventlog.Wildcard))
}

// may says why a person may not ask for something; nil where they may, by what the NATS servers
// let them publish.
func may(p *person.Person, about model.Subject, action string) error {
	if p == nil {
		return respond.Error{Code: http.StatusForbidden, Text: "Nobody is signed in, so nothing can be asked for here. Use the command."}
	}
	subject := about.Asks(p.Actor)
	if action == eventlog.VerbPing {
		subject = eventlog.DeviceCommandSubject(about.Device, eventlog.VerbPing)
	}
	if !p.May(subject) {
		return respond.Error{Code: http.StatusForbidden, Text: page.WhoMay(about)}
	}
	return nil
}

// authorize is may, and counts those who may not.
func (h *Handlers) authorize(p *person.Person, about model.Subject, action string) error {
	err := may(p, about, action)
	if err != nil {
		h.metrics.asked(action, resultForbidden)
	}
	return err
}

// limitRate says why a person has to wait before they ask for something.
func (h *Handlers) limitRate(p *person.Person, action string) error {
	if !h.rates.Take(p.Actor, h.o.Now()) {
		h.metrics.asked(action, resultTooMany)
		return respond.Error{Code: http.StatusTooManyRequests, Text: "You asked too often within a few seconds. Nothing was done. Wait a moment."}
	}
	return nil
}
