package page

import (
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"strings"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/phrase"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/attention"
)

// Acts is what the person who looks at a page may do there.
type Acts string

// What a person may do.
const (
	ActsNobody   Acts = ""         // nobody is signed in
	ActsViewer   Acts = "viewer"   // look
	ActsOperator Acts = "operator" // ask for what the page offers
)

// ActionForm is the model of the page of an action.
type ActionForm struct {
	Actions model.Actions
	Action  resource.Action
	Seen    model.Seen
	Token   string
	Reason  string // that was given already
	// ToRevision is the revision that was chosen already.
	ToRevision uint64
	Problem    string // why the form that was sent will not do
}

// Confirm is what the person has to type to confirm; empty: nothing.
func (f ActionForm) Confirm() string {
	if c := f.Actions.Subject.Confirmation(f.Action); c != model.Confirmed {
		return c
	}
	return ""
}

// Consequences say what the action would upset.
func (f ActionForm) Consequences() []string {
	a := &f.Actions
	switch f.Action.Name {
	case resource.ActionPromoteFull:
		return []string{
			fmt.Sprintf("All %s that match are given revision %d, batch after batch, within maxUnavailable and DisruptionBudgets.", phrase.Number(a.Devices, "device", "devices"), a.Target),
			"No batch is judged any more: devices that fail do not stop the rollout.",
			"Pause, abort or undo stop it.",
		}
	case eventlog.RequestAbort:
		return []string{
			fmt.Sprintf("Each of the %s that match keeps what it has: some run revision %d, and some what was there before.", phrase.Number(a.Devices, "device", "devices"), a.Target),
			"What the spec says is refused until it changes, or by retry.",
			"To go back to what ran before, use undo: it ends the rollout, too.",
		}
	case eventlog.RequestUndo:
		return []string{
			"The rollback takes no batches and no soaks: it goes as fast as maxUnavailable and DisruptionBudgets allow, and first to what is down.",
			"What the manifest says is refused until it changes.",
		}
	case eventlog.RequestWithdraw:
		return []string{
			fmt.Sprintf("%s is taken off %s. Those that are offline follow when they return.", a.Subject, phrase.Number(a.Devices, "device", "devices")),
			"To keep it, apply its manifest again instead: that adopts it.",
		}
	case eventlog.RequestRevoke:
		return []string{
			"The auth callout ends the connections of the device within 2 seconds and refuses its tokens, until an operator allows it again.",
			"The device keeps its Deployments and runs on what it last had.",
			"Deactivate its user at the identity provider too.",
		}
	case eventlog.RequestDecommission:
		return []string{
			"Taken off it: " + list(a.Assigned) + ".",
			"A device that is still alive removes its containers, now or when it connects again. What it reports after that is ignored.",
			"The Device is deleted. The log keeps its history. Allow lets it in again, without the labels that persons had set.",
		}
	}
	return nil
}

// list names a few of many.
func list(all []string) string {
	switch n := len(all); {
	case n == 0:
		return "no Deployment"
	case n > 5:
		return fmt.Sprintf("%s and %d more Deployments", strings.Join(all[:5], ", "), n-5)
	}
	return strings.Join(all, ", ")
}

// WhoMay says who may ask for something about a subject.
func WhoMay(about model.Subject) string {
	if about.Kind == model.OfDevice {
		return "You may look at this device. An operator of all namespaces may ask for something about it: a device belongs to no namespace."
	}
	what := "Deployment"
	if about.Kind == model.OfRollout {
		what = "rollout"
	}
	return fmt.Sprintf("You may look at this %s. An operator of the namespace %s, or of all namespaces, may ask for something about it.", what, about.Key.Namespace)
}

// offer is an action as a page offers it.
type offer struct {
	resource.Action
	To string // the address of its page; empty: it is not offered to the person who looks
}

// offers are what a page offers.
type offers struct {
	Past  bool
	Note  string // why nothing is offered
	Offer []offer
}

// offersOf gives what a page offers to do about its subject.
func offersOf(p Page, kind string, about []string) offers {
	o := offers{Past: !p.Moment.Now}
	var actions []resource.Action
	subject := model.Subject{Kind: kind}
	switch m := p.Model.(type) {
	case model.Rollout:
		actions = m.Actions
	case model.Deployment:
		actions = m.Actions
	case model.Device:
		actions = m.Actions
	}
	if kind != model.OfDevice {
		subject.Key.Namespace, subject.Key.Name = about[0], about[1]
	}
	switch p.Acts {
	case ActsNobody:
		o.Note = "Nobody is signed in here, so nothing can be asked for by a button. Use the commands."
	case ActsViewer:
		o.Note = WhoMay(subject)
	}
	for _, a := range actions {
		x := offer{Action: a}
		if p.Acts == ActsOperator && a.Possible {
			x.To = p.To(append(append([]string{kind}, about...), a.Name)...)
		}
		o.Offer = append(o.Offer, x)
	}
	return o
}

// remedy is the page of the action that a command asks for; empty: it is none.
func remedy(p Page, i attention.Item) string {
	words := strings.Fields(i.Command)
	switch {
	case p.Acts != ActsOperator || !p.Moment.Now || len(words) < 3:
	case words[1] == "withdraw" && i.Namespace != "":
		return p.To(model.OfDeployment, i.Namespace, i.Name, eventlog.RequestWithdraw)
	case words[1] == "rollout" && slices.Contains(eventlog.RolloutVerbs(), words[2]):
		return p.To(model.OfRollout, i.Namespace, i.Name, words[2])
	case words[1] == "device" && words[2] == eventlog.RequestAllow:
		return p.To(model.OfDevice, i.Name, eventlog.RequestAllow)
	}
	return ""
}

// ToSubject is the address of the page of what an action is about.
func (p Page) ToSubject(s model.Subject) string { return p.To(s.Parts()...) }

func actionFunctions() template.FuncMap {
	return template.FuncMap{
		"milliseconds": func(seconds float64) string { return strconv.FormatFloat(seconds*1000, 'f', 1, 64) },
		"remedy":       remedy,
		"actions": func(p Page, kind string, about ...string) map[string]any {
			return map[string]any{"P": p, "Offers": offersOf(p, kind, about)}
		},
	}
}
