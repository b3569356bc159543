package reconcile

import (
	"fmt"
	"slices"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/eventlog"
)

// maxForeign bounds the foreign containers that are told one by one.
const maxForeign = 64

// own gives the fleet's own of the containers that were found. Each foreign one is
// told once, by its name, in the log and the journal, and once more when the reason
// is another; nothing else is done about it.
func (k *Reconciler) own(found []engine.Container) []engine.Container {
	foreign := map[string]string{}
	for _, c := range found {
		if c.Foreign == "" || len(foreign) == maxForeign {
			continue
		}
		foreign[c.ID] = c.Foreign
		if k.foreign[c.ID] != c.Foreign {
			k.tellForeign(c)
		}
	}
	k.foreign = foreign
	return slices.DeleteFunc(found, func(c engine.Container) bool { return c.Foreign != "" })
}

func (k *Reconciler) tellForeign(c engine.Container) {
	text := fmt.Sprintf("container %s (%.12s) is left alone: %s. To end this message, remove the container, or create it with --label %s=",
		c.Name, c.ID, c.Foreign, engine.LabelDevice)
	k.o.Log.Warn("foreign container with the fleet's labels; the agent leaves it alone",
		"container", c.Name, "id", c.ID, "deployment", c.Deployment, "service", c.Service, "error", c.Foreign)
	s := eventlog.Step{Reason: engine.ReasonForeignContainer, Error: text, At: k.o.Clock().UTC()}
	if eventlog.CheckName("deployment", c.Deployment) == nil && eventlog.CheckName("service", c.Service) == nil {
		s.Deployment, s.Service = c.Deployment, c.Service // else somebody made them up
	}
	k.o.Reports.Journal(eventlog.AgentDriftDetected, s)
}
