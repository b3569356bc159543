package timeline

import "fleet.nationtech.io/eventlog"

// ByConnection says that NATS authenticated who it was: permissions fix the name
// in the subject, or the server told it to the device.
const ByConnection = "connection"

// Who is who did something, and how that is known: By is one of the eventlog's
// RequestedBy constants, or ByConnection.
type Who struct {
	Name string `json:"name,omitempty"`
	By   string `json:"by"`
}

// String is how a person reads it: a field manager is the client's own word, and
// marked as such.
func (w Who) String() string {
	switch {
	case w.Name == "":
		return eventlog.RequestedByUnknown
	case w.By == eventlog.RequestedByFieldManager:
		return w.Name + " (field manager)"
	}
	return w.Name
}

// Requester reads who asked for a spec; events from before version 2 do not say.
func Requester(d eventlog.Deployment) *Who {
	w := Who{Name: d.RequestedBy.Name, By: d.RequestedBy.By}
	if w.Name == "" || w.By == "" {
		w = Who{By: eventlog.RequestedByUnknown}
	}
	return &w
}

// actor is who the envelope names.
func actor(name string) *Who {
	if name == "" || name == eventlog.RequestedByUnknown {
		return &Who{By: eventlog.RequestedByUnknown}
	}
	return &Who{Name: name, By: ByConnection}
}
