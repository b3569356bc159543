package callout

import "fleet.nationtech.io/eventlog"

// AnswerPermissions is what the callout's user in account AUTH may do: hear the
// servers' requests and answer them.
func AnswerPermissions() Permissions {
	return Permissions{Publish: []string{eventlog.AuthReplySubjects}, Subscribe: []string{eventlog.AuthRequestSubject}}
}

// LogPermissions is what the callout's user in account FLEET may do: read the log by
// consumers of its own and by the stream's leader, and record logins.
func LogPermissions() Permissions {
	return Permissions{
		Publish:   append([]string{eventlog.AuthSubject(eventlog.Wildcard)}, eventlog.ReadAPIsOf(eventlog.LogStream)...),
		Subscribe: []string{eventlog.CalloutInboxPrefix + ".>"},
	}
}

// SystemPermissions is what the callout's user in the system account may do: hear who
// connects into the accounts of identities, ask who is connected, and end
// connections.
func SystemPermissions() Permissions {
	p := Permissions{
		Publish:   []string{eventlog.ConnectionsSubject, eventlog.KickSubject(eventlog.Wildcard)},
		Subscribe: []string{eventlog.CalloutInboxPrefix + ".>"},
	}
	for _, a := range GrantedAccounts() {
		p.Subscribe = append(p.Subscribe, eventlog.ConnectedSubject(a), eventlog.DisconnectedSubject(a))
	}
	return p
}
