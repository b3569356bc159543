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
	// Clocks are those of the servers that told their time beside an answer.
	Clocks []Clock
	// Members are the servers that told of themselves. Kubernetes has others, told by their
	// monitoring ports.
	Members []Member
	// Streams are those that could be looked at.
	Streams []Stream
	// AccountRoom is what the log's account may store, and AccountUnread why that is not known where
	// it was asked.
	AccountRoom   *Room
	AccountUnread string
	Buckets       []Bucket
	// BucketsUnread has, of each bucket that cannot be looked at, why.
	BucketsUnread []string
	Operator      *Operator
	Pulses        *Pulses
	Devices       *Devices
	Seal          *Seal
	Checkpoints   *Checkpoints
	Kubernetes    *Kubernetes
}

// Trouble is what is wrong, and what to do.
type Trouble struct{ Message, Remedy string }

// Server is the connection to the NATS servers, and who they say that one is.
type Server struct {
	URL           string        // without a secret
	RoundTrip     time.Duration // the shortest of some; 0: it answered none
	User, Account string        // Account is empty where the servers do not say it
	Members       int           // servers that are known, by their addresses
	// TokenEnds is when the servers end the connection; zero: never.
	TokenEnds   time.Time
	Certificate *attention.Certificate // that the server shows; nil: there is none
	// Names are those of all servers that are known by name.
	Names []string
	// Ahead is how far the clock of the server that leads the log is ahead of this machine's, and
	// Blur how far that may be wrong; Timed says that they are known, and Timekeeper is that
	// server. Where there is no log it is the connected one.
	Ahead, Blur time.Duration
	Timed       bool
	Timekeeper  string
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
	Cluster  string // of the servers; empty: one server is alone
	Leader   bool   // a server leads it
	// Behind names the servers whose replica is offline, or is not current.
	Behind []string
	// Faults are what of its configuration is not as it should be, and Permanent what of that no
	// server takes back.
	Faults, Permanent []string
	// Missing says which of its events are not there; empty where all are.
	Missing string
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
	// Fold is how far the replica that answered has folded the log; nil: it is not known.
	Fold *attention.Fold
	// Silent is why no operator answered; empty: one did, or none was asked.
	Silent string
	// FoldUnread is why else Fold is not known; empty: it is, or nobody was asked.
	FoldUnread string
}

// Pulses are those of the devices that the servers hold.
type Pulses struct {
	Faults []string      // what of their stream is not as it should be
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
	Defined bool     // all CRDs were looked at
	// Installed says whether a workload of the server side is there, and Surveyed that all were
	// looked at.
	Installed, Surveyed bool
	Servers             int // pods of the NATS servers that there are to be; 0: not known
	// NotReady has for each workload that is not ready why.
	NotReady map[string]string
	Images   map[string]string // the tag of each workload's image
	// LeaseAge is how long ago the operator that leads renewed its Lease; 0: not known.
	LeaseAge time.Duration
	// Members are the servers that told of themselves by their pods' monitoring ports.
	Members []Member
	// Synced says whether the servers' configuration in the cluster has them write each message
	// through to the disk; nil: not known. What a server says of itself counts for more.
	Synced       *bool
	Certificates map[string]attention.Certificate // by the names of their Secrets
}
