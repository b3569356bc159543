package logstream

import (
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
)

// Missing says what of the events of a log is not there; empty where all are.
func Missing(s jetstream.StreamState) string {
	switch {
	case s.LastSeq > 0 && s.FirstSeq > 1:
		return fmt.Sprintf("it begins at sequence %d", s.FirstSeq)
	case s.NumDeleted > 0:
		return fmt.Sprintf("%d of its messages are missing", s.NumDeleted)
	case s.Lost != nil:
		return fmt.Sprintf("the server says that it lost %d messages", len(s.Lost.Msgs))
	}
	return ""
}

// PulseFaults are what of the stream of pulses is not as EnsurePulse makes it, in what keeps
// devices from being heard.
func PulseFaults(is jetstream.StreamConfig) []string {
	var out []string
	if want := []string{eventlog.PulseSubjects}; !slices.Equal(is.Subjects, want) {
		out = append(out, fmt.Sprintf("it takes the subjects %v, and not %v", is.Subjects, want))
	}
	if is.MaxMsgsPerSubject != 1 || is.MaxMsgs > 0 || is.MaxBytes > 0 || is.MaxAge > 0 {
		out = append(out, "it does not keep just the last pulse of each device")
	}
	if is.SubjectTransform != nil {
		out = append(out, "pulses are kept under other subjects than they were sent to")
	}
	return out
}

// Faults are what of a log's stream is not as Ensure makes it, in what a log cannot do
// without; its size and its replicas are a person's choice. Ensure takes faults back, but not the
// permanent ones: no server lets an update do it.
func Faults(is jetstream.StreamConfig) (faults, permanent []string) {
	want := logStream(Config{}, "")
	say := func(fault bool, format string, args ...any) {
		if fault {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	stays := func(fault bool, format string, args ...any) {
		if fault {
			permanent = append(permanent, fmt.Sprintf(format, args...))
		}
	}
	say(!slices.Equal(is.Subjects, want.Subjects), "it takes the subjects %v, and not %v", is.Subjects, want.Subjects)
	stays(is.Storage != want.Storage, "it is kept in %s, and not in files", is.Storage)
	retention := say
	if is.Retention == jetstream.WorkQueuePolicy {
		retention = stays
	}
	retention(is.Retention != want.Retention, "its retention is %s, and not %s", is.Retention, want.Retention)
	say(is.Discard != want.Discard, "a full log drops its oldest events in place of refusing new ones")
	say(is.MaxAge > 0, "events are dropped after %s", is.MaxAge)
	say(is.MaxMsgs > 0, "it is bounded to %d events", is.MaxMsgs)
	say(is.MaxMsgsPerSubject > 0, "it keeps %d events of a subject", is.MaxMsgsPerSubject)
	say(is.MaxMsgSize != want.MaxMsgSize, "it takes events of up to %d bytes, and not %d", is.MaxMsgSize, want.MaxMsgSize)
	say(!is.DenyDelete || !is.DenyPurge, "its events can be deleted")
	say(!is.AllowDirect, "it allows no direct gets, by which account %s reads", eventlog.AccountPeople)
	say(!is.AllowAtomicPublish, "it takes no batches")
	say(len(is.Sources) > 0, "it copies other streams")
	stays(is.Mirror != nil, "it is the mirror of another stream")
	say(is.SubjectTransform != nil, "events are kept under other subjects than they were sent to")
	say(is.RePublish != nil, "each event is published once more")
	say(is.NoAck, "it acknowledges nothing, so that nobody knows what was appended")
	stays(is.Sealed, "it is sealed: nothing can be appended")
	stays(is.AllowMsgTTL, "it lets a message say when it is dropped")
	say(IDOf(is) == "" && RestoringArchive(is) == "", "it has no id, by which buckets and agents know it")
	return faults, permanent
}
