package attention

import (
	"fmt"
	"time"

	"fleet.nationtech.io/projections/buckets"
)

// Bucket is a bucket as the servers keep it.
type Bucket struct {
	Name    string
	Finding buckets.Finding // of its stream; Sound where that is in service
	// Unreadable is why what it has cannot be held against its source; empty: it can.
	Unreadable string
	// Lacks is the first message of its source that it does not have, and Since when that was
	// recorded; 0: it has all.
	Lacks uint64
	Since time.Time
}

// BucketPatience is how long a bucket may lack something: the servers copy within a second,
// and the operator moves a bucket that stalls within a minute.
const BucketPatience = 20 * time.Second

// Kept says whether the servers keep the bucket, at a time by their clock.
func (b Bucket) Kept(at time.Time) bool {
	return b.Finding == buckets.Sound && b.Unreadable == "" && (b.Lacks == 0 || at.Sub(b.Since) <= BucketPatience)
}

// remedy is what is wrong with a bucket that is not kept, what a person does about it, and
// the command that does it or shows more.
type remedy struct{ reason, does, command string }

const (
	rebuild   = "fleetctl rebuild "
	rebuildIt = "rebuild it, where the operator that leads does not within a minute"
)

// remedies are those of each finding. A rebuild helps where the bucket's stream is not what
// it should be. It does nothing for one that no server leads.
var remedies = map[buckets.Finding]remedy{
	buckets.Missing:       {"its stream is not there", rebuildIt, rebuild},
	buckets.OtherLog:      {"it projects another log than this one", rebuildIt, rebuild},
	buckets.Misconfigured: {"its stream is not configured as it should be, so that values may be wrong, or may not reach devices", rebuildIt, rebuild},
	buckets.Unfinished:    {"a rebuild of it goes on, or was cut short", "wait; where it lasts for more than a minute, look whether an operator leads, which finishes it", "fleetctl doctor"},
	buckets.Halted:        {"no server leads its replicas", "bring the NATS servers back that have them, and look at their log: nats server report jetstream", "fleetctl doctor"},
}

func (b Bucket) remedy() remedy {
	switch r, known := remedies[b.Finding]; {
	case known:
		if r.command == rebuild {
			r.command += b.Name
		}
		return r
	case b.Unreadable != "":
		return remedy{"its newest message: " + b.Unreadable, rebuildIt, rebuild + b.Name}
	}
	return remedy{
		fmt.Sprintf("it lacks message %d, which was recorded at %s", b.Lacks, b.Since.UTC().Format(time.RFC3339)),
		"look at the NATS servers' log and at the operator's, which moves a bucket past what stalls it", "fleetctl verify",
	}
}

// Reason is a sentence about what is wrong with a bucket that is not kept.
func (b Bucket) Reason() string { return b.remedy().reason }

// Remedy says what a person does about it.
func (b Bucket) Remedy() string { return b.remedy().does }

// Command is what to run: it helps, or shows more.
func (b Bucket) Command() string { return b.remedy().command }
