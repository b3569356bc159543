package logstream

import (
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
)

// Faults are what of a log's stream is not as Ensure makes it, in what a log cannot do
// without; its size and its replicas are a person's choice.
func Faults(is jetstream.StreamConfig) []string {
	want := logStream(Config{}, "")
	var out []string
	say := func(fault bool, format string, args ...any) {
		if fault {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	say(!slices.Equal(is.Subjects, want.Subjects), "it takes the subjects %v, and not %v", is.Subjects, want.Subjects)
	say(is.Storage != want.Storage, "it is kept in %s, and not in files", is.Storage)
	say(is.Retention != want.Retention, "its retention is %s, and not %s", is.Retention, want.Retention)
	say(is.Discard != want.Discard, "a full log drops its oldest events in place of refusing new ones")
	say(is.MaxAge > 0, "events are dropped after %s", is.MaxAge)
	say(is.MaxMsgs > 0, "it is bounded to %d events", is.MaxMsgs)
	say(is.MaxMsgsPerSubject > 0, "it keeps %d events of a subject", is.MaxMsgsPerSubject)
	say(is.MaxMsgSize != want.MaxMsgSize, "it takes events of up to %d bytes, and not %d", is.MaxMsgSize, want.MaxMsgSize)
	say(!is.DenyDelete || !is.DenyPurge, "its events can be deleted")
	say(!is.AllowDirect, "it allows no direct gets, by which account %s reads", eventlog.AccountPeople)
	say(!is.AllowAtomicPublish, "it takes no batches")
	say(len(is.Sources) > 0 || is.Mirror != nil, "it copies another stream")
	return out
}
