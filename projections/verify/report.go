package verify

import (
	"fmt"
	"time"

	"fleet.nationtech.io/projections/seal"
)

// Kind is one way in which the log, its seals and its buckets can be other than
// they should be.
type Kind string

// What makes the fleet's record differ from itself: somebody should look.
const (
	// MessageMissing: a sequence between the first and the last has no message.
	MessageMissing Kind = "MessageMissing"
	// LogBeginsLate: the log does not begin at sequence 1.
	LogBeginsLate Kind = "LogBeginsLate"
	// SealBroken: the messages are not those that the seal covers.
	SealBroken Kind = "SealBroken"
	// SealForged: the seal contradicts itself, or its signature is not its key's.
	SealForged Kind = "SealForged"
	// SealKey: the seal is signed by another key than those that are trusted, or
	// where none is named, than the first seal.
	SealKey Kind = "SealKey"
	// SealOutOfOrder: the seal covers no more than one before it, or messages
	// that came after it.
	SealOutOfOrder Kind = "SealOutOfOrder"
	// BucketMissing: the bucket is not there.
	BucketMissing Kind = "BucketMissing"
	// BucketUnfinished: a rebuild of the bucket is under way, or was cut short.
	BucketUnfinished Kind = "BucketUnfinished"
	// BucketHalted: no server leads the bucket, so that it cannot be read.
	BucketHalted Kind = "BucketHalted"
	// BucketOfOtherLog: the bucket projects a log that is not this one.
	BucketOfOtherLog Kind = "BucketOfOtherLog"
	// KeyMissing: the log has a message for the key, the bucket has none.
	KeyMissing Kind = "KeyMissing"
	// KeyExtra: the bucket has a key that the log says nothing of.
	KeyExtra Kind = "KeyExtra"
	// KeyStale: the bucket has another message of the log than the last, and does
	// not come to have that.
	KeyStale Kind = "KeyStale"
	// ValueDiffers and HeaderDiffers: the bucket has what the log has not.
	ValueDiffers  Kind = "ValueDiffers"
	HeaderDiffers Kind = "HeaderDiffers"
	// CheckpointDiffers: a saved fold is intact, and not what the log folds to.
	CheckpointDiffers Kind = "CheckpointDiffers"
)

// What is worth knowing and no difference.
const (
	// Foreign: a message whose subject, type and payload do not agree.
	Foreign Kind = "Foreign"
	// Skipped: a message that the server refuses to store in a bucket, past which the
	// bucket was moved. It counts as foreign: no agent sends such a message.
	Skipped Kind = "PassedOver"
	// NumberGap: a device's report numbers skip some: those reports never came.
	NumberGap Kind = "NumberGap"
	// NumberRepeat: a report that had come before; the fold drops it.
	NumberRepeat Kind = "NumberRepeat"
	// TimeBackwards: the log's clock went back between two messages.
	TimeBackwards Kind = "TimeBackwards"
	// PulsesGone: the pulses, which are in memory alone, went with a restart of the
	// server, and the bucket that shows them. An operator makes both again.
	PulsesGone Kind = "PulsesGone"
	// CheckpointUnusable: a saved fold is damaged; it costs time, no truth.
	CheckpointUnusable Kind = "CheckpointUnusable"
)

// Kinds lists all, the gravest first.
func Kinds() []Kind {
	return []Kind{
		MessageMissing, LogBeginsLate, SealBroken, SealForged, SealKey, SealOutOfOrder,
		BucketMissing, BucketUnfinished, BucketHalted, BucketOfOtherLog, KeyMissing, KeyExtra, KeyStale, ValueDiffers, HeaderDiffers, CheckpointDiffers,
		Foreign, Skipped, NumberGap, NumberRepeat, TimeBackwards, PulsesGone, CheckpointUnusable,
	}
}

// Differs says whether the kind means that something is other than it should be.
func (k Kind) Differs() bool {
	switch k {
	case Foreign, Skipped, NumberGap, NumberRepeat, TimeBackwards, PulsesGone, CheckpointUnusable:
		return false
	}
	return true
}

// Finding is one thing that was found.
type Finding struct {
	Kind     Kind   `json:"kind"`
	Sequence uint64 `json:"sequence,omitempty"` // in the log, where it has one
	Subject  string `json:"subject,omitempty"`  // in the log, or the bucket's key
	Bucket   string `json:"bucket,omitempty"`
	Says     string `json:"says"`
}

// Bucket is how one bucket was compared.
type Bucket struct {
	Name     string `json:"name"`
	Keys     int    `json:"keys"`     // that the log has for it, delete markers included
	Compared int    `json:"compared"` // of which each was held against the bucket
	Again    int    `json:"again"`    // and was asked for once more, as it changed meanwhile or did not agree
}

// Seals is how the log's seals were checked.
type Seals struct {
	Checked  int       `json:"checked"`
	Held     int       `json:"held"` // of which the log is what they cover
	Keys     seal.Keys `json:"keys"` // that signed those, in the order in which they came
	Pinned   bool      `json:"pinned"`
	Covered  uint64    `json:"covered"`            // messages, by the last one that held
	SealedAt time.Time `json:"sealed_at,omitzero"` // of that one
	Root     []byte    `json:"root,omitempty"`
	Beyond   uint64    `json:"beyond"` // messages after it: covered by none
}

// Report is what verifying found.
type Report struct {
	LogID    string    `json:"log_id"`
	Sequence uint64    `json:"sequence"` // up to which the log was verified
	Recorded time.Time `json:"recorded,omitzero"`
	Messages uint64    `json:"messages"`
	Seals    Seals     `json:"seals"`
	Buckets  []Bucket  `json:"buckets"`
	// Checkpoints is how many saved folds were compared with this one.
	Checkpoints int `json:"checkpoints"`

	Counts map[Kind]uint64 `json:"counts"` // of all that was found
	// Findings are the first of each kind, no more than was asked for.
	Findings []Finding `json:"findings"`

	most int
	kept map[Kind]int // of Findings
}

func newReport(most int) *Report {
	return &Report{Counts: map[Kind]uint64{}, kept: map[Kind]int{}, most: most}
}

func (r *Report) add(f Finding) { r.addMany(f, 1) }

// addMany counts a finding that stands for several.
func (r *Report) addMany(f Finding, n uint64) {
	r.Counts[f.Kind] += n
	if !r.full(f.Kind) {
		r.kept[f.Kind]++
		r.Findings = append(r.Findings, f)
	}
}

// full says whether no more of a kind are kept.
func (r *Report) full(k Kind) bool { return r.kept[k] >= r.most }

func (r *Report) addf(k Kind, sequence uint64, format string, args ...any) {
	r.add(Finding{Kind: k, Sequence: sequence, Says: fmt.Sprintf(format, args...)})
}

// Differences is how much differs.
func (r *Report) Differences() (n uint64) {
	for k, c := range r.Counts {
		if k.Differs() {
			n += c
		}
	}
	return n
}

// Foreign is how many foreign messages the log has, those among them that buckets
// were moved past.
func (r *Report) Foreign() uint64 { return r.Counts[Foreign] + r.Counts[Skipped] }
