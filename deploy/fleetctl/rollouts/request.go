package rollouts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
)

// defaultWait is how long a person waits for the operator's answer.
const defaultWait = 30 * time.Second

// requestFlags are the flags of the commands that ask something of the operator.
type requestFlags struct {
	about
	reason     string
	wait       bool
	timeout    time.Duration
	yes        bool
	full       bool
	toRevision uint64
}

// Answer is what came of a request.
type Answer struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Verb      string `json:"verb"`
	Request   uint64 `json:"request"` // its event
	// What the operator answered; left out where nobody waited for it.
	Answer   uint64        `json:"answer,omitempty"` // its event
	Event    eventlog.Type `json:"event,omitempty"`
	Revision uint64        `json:"revision,omitempty"` // of the run
	Run      uint64        `json:"run,omitempty"`
	Batch    int           `json:"batch,omitempty"`
	Kind     string        `json:"kind,omitempty"`
	Message  string        `json:"message"`
}

func (e env) request(ctx context.Context, v verb, f requestFlags, stdin io.Reader) error {
	nc, js, err := e.c.Open()
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := e.checkUser(); err != nil {
		return err
	}
	view, err := e.view(ctx, nc, js, query.Moment{})
	if err != nil {
		return err
	}
	d := view.Deployments[f.key]
	switch {
	case d == nil || d.Lifecycle == "":
		return e.unknown(ctx, nc, js, f.key, v.name, query.Moment{})
	case d.Lifecycle == fleet.Deleted:
		return cli.Failed(fmt.Errorf("%s has ended", f.key), fmt.Sprintf("when and by whom: %s history deployment/%s -n %s", e.s.Program(), f.key.Name, f.key.Namespace))
	case len(d.Requests) >= fleet.MaxRequests:
		return cli.FailedWith(cli.ExitNoOperator, fmt.Errorf("%d requests about %s are open, and the operator answers none; it keeps no more", len(d.Requests), f.key), e.operatorTry())
	}
	if v.asks != nil && !f.yes {
		if question := v.asks(d, &f); question != "" {
			if err := cli.Confirm(e.s, stdin, question); err != nil {
				return err
			}
		}
	}
	if err := e.ask(ctx, nc, js, v, f, d); err != nil {
		return e.c.Explain(err, nc)
	}
	return nil
}

// ask makes the request, as its author saw the Deployment, and waits for the answer.
func (e env) ask(ctx context.Context, _ *nats.Conn, js jetstream.JetStream, v verb, f requestFlags, d *fleet.Deployment) error {
	seq, err := e.c.Append(ctx, e.s, js, eventlog.RequestSubject(e.c.User, f.key.Namespace, f.key.Name), eventlog.RequestMade, eventlog.Request{
		Verb: v.name, Reason: f.reason, Revision: d.Spec.Revision, Run: d.Run.ID, Batch: d.Run.Batch, ToRevision: f.toRevision, Full: f.full,
	})
	if err != nil {
		return err
	}
	out := Answer{Namespace: f.key.Namespace, Name: f.key.Name, Verb: v.name, Request: seq}
	if !f.wait {
		out.Message = fmt.Sprintf("asked the operator to %s %s (event %d)", phrase(v.name), f.key, seq)
		return e.tell(f, out)
	}
	bounded, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if err := e.await(ctx, bounded, js, f, &out); err != nil {
		return err
	}
	return e.tell(f, out)
}

// phrase is a verb as part of a sentence.
func phrase(verb string) string {
	switch verb {
	case eventlog.RequestRetryFailed:
		return "give another deadline to the failed devices of"
	case eventlog.RequestRetry:
		return "try again"
	}
	return verb
}

func (e env) tell(f requestFlags, a Answer) error {
	if f.asJSON {
		b, err := json.Marshal(a)
		if err != nil {
			return err
		}
		e.s.Tell("%s\n", b)
		return nil
	}
	e.s.Tell("%s\n", render.Printable(a.Message))
	return nil
}

func (e env) operatorTry() string {
	return "is an operator running? " + e.s.Program() + " log --type leader -o text shows the last one"
}

// await follows the log until the event that answers the request.
func (e env) await(ctx, bounded context.Context, js jetstream.JetStream, f requestFlags, out *Answer) error {
	subjects := []string{eventlog.DeploymentSubject(f.key.Namespace, f.key.Name)}
	for ev, err := range reader.Follow(bounded, js, reader.Options{From: out.Request, Subjects: subjects}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			if bounded.Err() == nil || ctx.Err() != nil {
				return err
			}
			return cli.FailedWith(cli.ExitNoOperator, fmt.Errorf("no operator answered within %v: the request to %s %s (event %d) stays in the log, and the next operator answers it, or refuses it where it no longer fits",
				f.timeout, phrase(out.Verb), f.key, out.Request), e.operatorTry())
		}
		if err != nil {
			continue
		}
		if ev.Type == eventlog.DeploymentDeleted {
			return cli.Failed(fmt.Errorf("%s was deleted meanwhile (event %d)", f.key, ev.Sequence), e.s.Program()+" history deployment/"+f.key.Name+" -n "+f.key.Namespace)
		}
		r, ok := resource.RolloutAnswer(ev, out.Request)
		if !ok {
			continue
		}
		if ev.Type == eventlog.RolloutRequestRefused {
			return cli.Failed(fmt.Errorf("the operator refused it (%s, event %d): %s", r.Reason, ev.Sequence, r.Message), e.afterRefusal(f, r.Reason))
		}
		out.Answer, out.Event, out.Revision, out.Run, out.Batch, out.Kind = ev.Sequence, ev.Type, r.Revision, r.Run, r.Batch, r.Kind
		if ev.Type == eventlog.RolloutStarted {
			out.Run = ev.Sequence
		}
		out.Message = e.happened(f, r, ev)
		return nil
	}
	return context.Cause(bounded)
}

// happened says in a sentence what the operator did.
func (e env) happened(f requestFlags, r eventlog.Rollout, ev eventlog.Event) string {
	text, on := resource.RolloutAnswerText(f.key, ev, r)
	if on {
		text += fmt.Sprintf("; watch it: %s rollout status %s -n %s -w", e.s.Program(), f.key.Name, f.key.Namespace)
	}
	return text
}

// afterRefusal is what to do about a refusal.
func (e env) afterRefusal(f requestFlags, reason string) string {
	command := func(verb string) string {
		return fmt.Sprintf("%s rollout %s %s -n %s", e.s.Program(), verb, f.key.Name, f.key.Namespace)
	}
	switch reason {
	case decide.ReasonOutdated:
		return command("status") + ", and ask again if it still fits"
	case decide.ReasonFourEyes:
		return fmt.Sprintf("kubectl annotate fleetdep %s -n %s fleet.nationtech.io/promote=REVISION.RUN.BATCH; the numbers: %s", f.key.Name, f.key.Namespace, command("status -o json"))
	case decide.ReasonUnknownContent, v1alpha1.ReasonNothingToRollBackTo:
		return "which revisions there are: " + command("history")
	}
	return "how it stands: " + command("status")
}
