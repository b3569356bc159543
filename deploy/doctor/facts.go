package doctor

import (
	"time"

	"fleet.nationtech.io/projections/attention"
)

// Facts are what was gathered. What is nil, or not in a map, is not known.
type Facts struct {
	At      time.Time // by this machine's clock
	Version string    // of fleetctl
	// Unreachable is why there are no other facts than those of Kubernetes.
	Unreachable *Trouble
	// LeftOut is, of a check that cannot be made, why.
	LeftOut map[string]string

	Server *Server
	Log    *Log
	Growth *Growth
	// GrowthUnread is why Growth could not be read; empty where it was, or the log is too young.
	GrowthUnread string
	Buckets      []Bucket
	Operator     *Operator
	Pulses       *Pulses
	Devices      *Devices
	Seal         *Seal
	Checkpoints  *Checkpoints
	Kubernetes   *Kubernetes
}

// Trouble is what is wrong, and what to do.
type Trouble struct{ Message, Remedy string }

// Server is the connection to the NATS servers, and who they say that one is.
type Server struct {
	URL           string        // without a secret
	RoundTrip     time.Duration // the shortest of some; 0: it answered none
	User, Account string        // Account is empty where the servers do not say it
	Members       int           // servers that are known
	// TokenEnds is when the servers end the connection; zero: never.
	TokenEnds time.Time
	// CertificateEnds is when the server's certificate ends; zero: there is none.
	CertificateEnds time.Time
	// Ahead is how far the server's clock is ahead of this machine's, and Blur how far that
	// may be wrong; Timed says that they are known.
	Ahead, Blur time.Duration
	Timed       bool
}

// Log is the stream FLEET. Trouble is why nothing else is known of it.
type Log struct {
	Trouble  *Trouble
	ID       string
	Last     uint64
	Bytes    uint64
	MaxBytes int64 // 0: no limit
	Size     int64 // what MaxBytes is once its reserve is open; 0: not known
	Replicas int
	Leader   bool // a server leads it
	// Behind names the servers whose replica is offline, or is not current.
	Behind []string
	// Faults are what of its configuration is not as it should be.
	Faults []string
}

// Growth is how fast the log grew lately.
type Growth struct {
	Bytes float64 // so many
	In    time.Duration
}

// Bucket is one of the four.
type Bucket struct {
	attention.Bucket
	Replicas int
}

// Operator is what the log says of the operator.
type Operator struct {
	Leader     string // its identity; empty: the log knows none
	Version    string
	Elected    time.Time
	Unanswered int       // requests of persons that are open for too long
	Since      time.Time // of the oldest
	// Ahead is how far the operator's clock was ahead of the servers' when they recorded its
	// newest event. What the event waited for since it was decided makes the clock seem behind.
	Ahead time.Duration
	Known bool // Ahead is
}

// Pulses are those of the devices that the servers hold.
type Pulses struct {
	Heard  int           // devices with a pulse
	Newest time.Time     // by the servers' clock
	Ahead  []DeviceClock // devices whose clocks are wrong, the worst first
}

// DeviceClock is how far a device's clock is ahead of the servers'.
type DeviceClock struct {
	Device string
	Ahead  time.Duration
}

// Devices are those of the fleet.
type Devices struct {
	Known, Online int
	// Agents counts the devices of each version of the agent.
	Agents map[string]int
	// Ending and Ended name the devices whose key ends soon, or has ended.
	Ending, Ended []string
}

// Seal is the last seal of the log. A log without one has the zero Seal.
type Seal struct {
	Sequence uint64 // the last that it covers
	At       time.Time
	// Uncovered counts the events since, and Since is when the oldest of them was recorded.
	Uncovered uint64
	Since     time.Time
}

// Checkpoints are the saved views.
type Checkpoints struct {
	Usable uint64 // sequence of the newest that this version can use for this log; 0: none
	Others int    // those of other versions or logs
}

// Kubernetes is what the cluster says of the server side.
type Kubernetes struct {
	Cluster string // its address
	Trouble *Trouble
	Unread  []string // what this user may not read, and the cluster's answer
	Missing []string // CRDs that are not there, or not established
	// Installed says whether a workload of the server side is there.
	Installed bool
	// NotReady has for each workload that is not ready why.
	NotReady map[string]string
	Images   map[string]string // the tag of each workload's image
	// LeaseAge is how long ago the operator that leads renewed its Lease; 0: not known.
	LeaseAge time.Duration
	// Synced says whether the servers write each message through to the disk; nil: not known.
	Synced *bool
	// CertificateEnds has for each Secret with a certificate when that ends.
	CertificateEnds map[string]time.Time
}
