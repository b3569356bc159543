package decide

import (
	"fleet.nationtech.io/eventlog"
)

// maxAccessReason bounds what a person wrote in a request about access, in bytes,
// where it goes into the event that answers it.
const maxAccessReason = 1 << 10

// answerAccessRequest: what a person asks about a device's access is done, in the
// person's name.
func answerAccessRequest(c deviceCase) ([]eventlog.Draft, bool, error) {
	if c.dev == nil || c.dev.AccessRequest == nil || !nameable(c.id) {
		return nil, false, nil
	}
	asked := c.dev.AccessRequest
	typ := eventlog.AccessRevoked
	if asked.Verb == eventlog.RequestAllow {
		typ = eventlog.AccessAllowed
	}
	d, err := eventlog.NewDraft(eventlog.AccessSubject(c.id), typ, c.now,
		eventlog.Access{Reason: ReasonRequested, Message: clip(asked.Reason, maxAccessReason)})
	d.Actor, d.CausationID = asked.User, asked.Mark.ID
	return []eventlog.Draft{d}, false, err
}
