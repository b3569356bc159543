package callout

import "fleet.nationtech.io/eventlog"

// ViewerPermissions is what a viewer may do in account PEOPLE: read the log, the
// pulses, the buckets and the checkpoints by direct gets and by the streams' leaders,
// follow the log, and ask who one is. Answers come to a private inbox.
func ViewerPermissions(actor string) Permissions {
	publish := []string{eventlog.UserInfoAPI, eventlog.PeopleStreamInfoAPI(eventlog.Wildcard)}
	for _, s := range eventlog.ReadableStreams() {
		publish = append(publish, eventlog.PeopleMessageGetAPI(s))
		publish = append(publish, eventlog.DirectGetAPIs(s)...)
	}
	return Permissions{
		Publish:   publish,
		Subscribe: []string{eventlog.LogSubjects, eventlog.InboxPrefix(actor) + ".>"},
	}
}

// OperatorPermissions is what an operator may do in account PEOPLE: besides, ask of
// fleet-operator under the own name, and command devices. With namespaces it may
// ask about Deployments of those alone, and command no device: a device belongs to
// no namespace.
func OperatorPermissions(actor string, namespaces ...string) Permissions {
	p := ViewerPermissions(actor)
	if len(namespaces) > 0 {
		for _, n := range namespaces {
			p.Publish = append(p.Publish, eventlog.RequestSubject(actor, n, eventlog.Wildcard))
		}
		return p
	}
	p.Publish = append(p.Publish,
		eventlog.RequestSubject(actor, eventlog.Wildcard, eventlog.Wildcard),
		eventlog.DeviceRequestSubject(actor, eventlog.Wildcard),
		eventlog.SyncSubject(eventlog.Wildcard))
	for _, verb := range eventlog.PersonVerbs() {
		p.Publish = append(p.Publish, eventlog.DeviceCommandSubject(eventlog.Wildcard, verb))
	}
	return p
}

// AdminPermissions is what an admin may do in account FLEET: use the whole
// JetStream API, as archives, restores and rebuilds need, command devices, and ask
// under the own name. Who may do that can have the server write any event, so
// an admin is trusted with everything.
func AdminPermissions(actor string) Permissions {
	return Permissions{
		Publish: []string{
			eventlog.UserInfoAPI, eventlog.JetStreamSubjects, eventlog.KVSubjects,
			eventlog.RequestSubject(actor, eventlog.Wildcard, eventlog.Wildcard),
			eventlog.DeviceRequestSubject(actor, eventlog.Wildcard),
			eventlog.DeviceCommandSubject(eventlog.Wildcard, eventlog.Wildcard),
			eventlog.SyncSubject(eventlog.Wildcard),
		},
		Subscribe: []string{">"},
		Responses: &Responses{Max: -1, TTL: ResponseTTL}, // flow control of consumers
	}
}
