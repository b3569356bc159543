package attention

import "time"

// Facts is what the view cannot say: how the servers are at present. What is not known
// is left out.
type Facts struct {
	Log         *LogSize
	Certificate *Certificate // of the server that was asked
	Buckets     []Bucket     // those that the servers do not keep
	Fold        *Fold        // how far an operator has folded the log
	// NoOperator says that none answered who was asked for that.
	NoOperator bool
	// Habits has for a device the longest time that it was offline and came back from by
	// itself. A device that is not there has the habit DefaultHabit.
	Habits map[string]time.Duration
}

// platform is about log, buckets, servers and operators.
func (l *list) platform() {
	l.logSize()
	l.certificate()
	l.fold()
	for _, b := range l.facts.Buckets {
		l.add(Item{
			Kind: BucketStalled, Severity: Critical, Name: b.Name, Since: b.Since, Title: "bucket " + b.Name + " is not kept",
			Reason: b.Reason() + ": " + b.Remedy(), Command: b.Command(),
		})
	}
}
