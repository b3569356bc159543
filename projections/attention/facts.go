package attention

import (
	"fmt"
	"time"
)

// Facts is what the view cannot say: how the servers are at present. What is not known
// is left out.
type Facts struct {
	Log     *LogSize
	Buckets []Bucket // those that the servers do not keep
	// Habits has for a device the longest time that it was offline and came back from by
	// itself. A device that is not there has the habit DefaultHabit.
	Habits map[string]time.Duration
}

// LogSize is how full the log is.
type LogSize struct {
	Bytes    uint64
	MaxBytes uint64 // 0: nothing but the disk bounds it
}

// Bucket is a bucket that the servers do not keep.
type Bucket struct {
	Name   string
	Reason string // a sentence
	Since  time.Time
}

// LogAlarm is the share of the log's size from which it needs a person.
const LogAlarm = 0.8

// platform is about log and buckets.
func (l *list) platform() {
	if s := l.facts.Log; s != nil && s.MaxBytes > 0 {
		share := float64(s.Bytes) / float64(s.MaxBytes)
		i := Item{
			Kind: LogFull, Severity: Warning, Title: fmt.Sprintf("the event log is %.0f %% full", 100*min(share, 1)),
			Reason: fmt.Sprintf("the log has %d of %d bytes; raise the operator's --log-max-bytes before it takes no more events", s.Bytes, s.MaxBytes), Command: "fleetctl doctor",
		}
		// The last event that fits may leave some bytes.
		if share >= 0.98 {
			i.Severity, i.Title = Critical, "the event log is full"
			i.Reason = fmt.Sprintf("the log has %d of %d bytes, so that nothing is recorded or decided any more; raise the operator's --log-max-bytes", s.Bytes, s.MaxBytes)
		}
		if share >= LogAlarm {
			l.add(i)
		}
	}
	for _, b := range l.facts.Buckets {
		l.add(Item{
			Kind: BucketStalled, Severity: Critical, Name: b.Name, Since: b.Since, Title: "bucket " + b.Name + " is not kept", Reason: b.Reason,
			Command: "fleetctl rebuild " + b.Name,
		})
	}
}
