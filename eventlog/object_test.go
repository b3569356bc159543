package eventlog_test

import (
	"testing"

	"fleet.nationtech.io/eventlog"
)

func TestParseCheckpointName(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		name string
		ok   bool
	}{
		"one that CheckpointName made":  {eventlog.CheckpointName(3, "01JDFA7Q6Z", 50_000), true},
		"one of a log without an id":    {eventlog.CheckpointName(3, "", 1), true},
		"empty":                         {"", false},
		"another's object":              {"backup.tar", false},
		"a sequence that is not padded": {"v3/01JDFA7Q6Z/50000", false},
		"a version without its letter":  {"3/01JDFA7Q6Z/00000000000000050000", false},
		"more than three parts":         {"v3/01JDFA7Q6Z/00000000000000050000/x", false},
		"a sequence that is no number":  {"v3/01JDFA7Q6Z/0000000000000005000x", false},
		"a version that is no number":   {"vx/01JDFA7Q6Z/00000000000000050000", false},
		"a sequence beyond 64 bits":     {"v3/01JDFA7Q6Z/99999999999999999999", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			fold, log, seq, ok := eventlog.ParseCheckpointName(tt.name)
			if ok != tt.ok || ok && eventlog.CheckpointName(fold, log, seq) != tt.name {
				t.Errorf("ParseCheckpointName(%q) = %d, %q, %d, %t", tt.name, fold, log, seq, ok)
			}
		})
	}
}

func TestObjectOfMeta(t *testing.T) {
	t.Parallel()
	name := eventlog.CheckpointName(3, "01JDFA7Q6Z", 50_000)
	subject := eventlog.ObjectMetaSubject(eventlog.BucketCheckpoints, name)
	if got, ok := eventlog.ObjectOfMeta(eventlog.BucketCheckpoints, subject); !ok || got != name {
		t.Errorf("ObjectOfMeta(%q) = %q, %t; want %q", subject, got, ok, name)
	}
	for _, other := range []string{"", "$O.other.M.YQ==", eventlog.ObjectChunkSubject(eventlog.BucketCheckpoints, "x"), subject + "%"} {
		if got, ok := eventlog.ObjectOfMeta(eventlog.BucketCheckpoints, other); ok {
			t.Errorf("ObjectOfMeta(%q) = %q, want none", other, got)
		}
	}
}
