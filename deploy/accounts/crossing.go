package accounts

import "fleet.nationtech.io/eventlog"

// crossing is one thing that an account offers and another takes over.
type crossing struct {
	from, to string // accounts
	subject  string
	as       string // the subject under which the importer has it, where it is another
	kind     string // service or stream
	streamed bool   // a service whose answer is any number of messages
	// share lets the answering side see who asked (Nats-Request-Info), which the
	// asker cannot forge.
	share bool
}

const (
	service = "service"
	stream  = "stream"
)

// crossings is all that crosses between accounts. A device's report
// is a request to a service, so that the acknowledgement goes back into account
// DEVICES, where no subject of the log exists: whatever reply subject a device
// chooses, it cannot make the server write for it.
func crossings() []crossing {
	any1 := eventlog.Wildcard
	report := func(subject string) crossing {
		return crossing{from: Fleet, to: Devices, kind: service, subject: subject}
	}
	return []crossing{
		report(eventlog.StateSubject(any1, any1)),
		report(eventlog.InfoSubject(any1)),
		report(eventlog.AgentSubject(any1)),
		report(eventlog.PulseSubject(any1)),
		{from: Fleet, to: Devices, kind: service, subject: eventlog.SyncSubject(any1), streamed: true},
		{from: Fleet, to: Devices, kind: stream, subject: eventlog.LiveSubject(any1, any1)},
		{from: Devices, to: Fleet, kind: service, subject: eventlog.DeviceCommandSubjects, streamed: true, share: true},
	}
}

// peopleCrossings is what viewers and operators read and ask by. They have no
// JetStream and no consumers: an answer that they aim at a subject of the log is
// sent in their own account, where that subject exists for nobody.
func peopleCrossings() []crossing {
	any1 := eventlog.Wildcard
	all := []crossing{
		{from: Fleet, to: People, kind: stream, subject: eventlog.LogSubjects},
		{from: Fleet, to: People, kind: service, subject: eventlog.RequestSubject(any1, any1, any1)},
		{from: Fleet, to: People, kind: service, subject: eventlog.DeviceRequestSubject(any1, any1)},
		{from: Fleet, to: People, kind: service, subject: eventlog.SyncSubject(any1), streamed: true},
		{from: Devices, to: People, kind: service, subject: eventlog.DeviceCommandSubjects, streamed: true, share: true},
		{from: Fleet, to: People, kind: service, subject: eventlog.StreamInfoAPI(any1), as: eventlog.PeopleStreamInfoAPI(any1)},
	}
	for _, s := range eventlog.ReadableStreams() {
		all = append(all, crossing{from: Fleet, to: People, kind: service, subject: eventlog.MessageGetAPI(s), as: eventlog.PeopleMessageGetAPI(s)})
		for _, subject := range eventlog.DirectGetAPIs(s) {
			all = append(all, crossing{from: Fleet, to: People, kind: service, subject: subject, streamed: true})
		}
	}
	return all
}
