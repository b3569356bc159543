// Package migration turns a fleet of the original design, which is four plain
// key-value buckets and no log, into events of the log. What becomes of each entry is
// decided by Plan, which is pure; Import carries the plan out, and can be run again
// whatever cut it short.
package migration

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/score"
)

// Entry is the newest value of one key of a source's bucket.
type Entry struct {
	Bucket   string    `json:"bucket"`
	Key      string    `json:"key"`
	Revision uint64    `json:"revision"`          // in the source
	Created  time.Time `json:"created"`           // by the source's clock
	Deleted  bool      `json:"deleted,omitempty"` // the key's newest entry is a delete marker
	Value    []byte    `json:"value,omitempty"`
}

// Source is what the four buckets held when they were read.
type Source struct {
	// Origin tells one set of buckets from another: a digest of when they were made.
	Origin  string    `json:"origin"`
	Read    time.Time `json:"read"`
	Entries []Entry   `json:"entries"`
}

// Reason says why an entry is refused, or is worth a note.
type Reason string

// Reasons of a refusal: the entry does not become an event.
const (
	ReasonInvalidKey       Reason = "InvalidKey"       // the bucket has no key of this form
	ReasonInvalidName      Reason = "InvalidName"      // the device's id or the Deployment's name is no RFC 1123 label
	ReasonInvalidJSON      Reason = "InvalidJSON"      // the value is not JSON
	ReasonInvalidValue     Reason = "InvalidValue"     // the value has another shape, or speaks of another device than its key
	ReasonInvalidScore     Reason = "InvalidScore"     // an agent of this version would refuse the score
	ReasonUnknownScoreType Reason = "UnknownScoreType" // the score is of a type that this version does not know
	ReasonTooLarge         Reason = "TooLarge"         // the event log does not take a value of this size
	ReasonUnknownDevice    Reason = "UnknownDevice"    // neither the source nor the log has a valid device-info of the device
	ReasonDeviceLeft       Reason = "DeviceLeft"       // the log says that the device was decommissioned
	ReasonEnded            Reason = "Ended"            // the log says that an operator ended the Deployment
	ReasonAlreadyDecided   Reason = "AlreadyDecided"   // an operator has given the device another desired value in the log
	ReasonOperatorOwns     Reason = "OperatorOwns"     // an operator decided the Deployment in the log, and it never had this content
	ReasonNotSelected      Reason = "NotSelected"      // the Deployment's selector leaves the device out, and import cannot change that
)

// Reasons of a note: the entry is dealt with, and a person should know how.
const (
	ReasonNewerInLog  Reason = "NewerInLog"  // the device has reported to the log itself, which is kept
	ReasonClockAhead  Reason = "ClockAhead"  // the value names a moment in the future
	ReasonNotAssigned Reason = "NotAssigned" // the device reports a Deployment that it has no desired value of
)

// Finding is one entry about which there is something to say.
type Finding struct {
	Bucket   string `json:"bucket"`
	Key      string `json:"key"`
	Revision uint64 `json:"revision,omitempty"` // of the entry, in the source
	Reason   Reason `json:"reason"`
	Message  string `json:"message"`
}

func (e Entry) finding(r Reason, format string, args ...any) *Finding {
	return &Finding{Bucket: e.Bucket, Key: e.Key, Revision: e.Revision, Reason: r, Message: fmt.Sprintf(format, args...)}
}

// item is an entry that was understood.
type item struct {
	Entry
	subject    string
	device     string
	deployment string    // its name; empty where the bucket has none
	data       []byte    // what the log is to hold
	says       time.Time // a moment of the device's clock that the value names; zero: none
}

// read understands an entry, or says why it cannot be imported.
func read(e Entry) (item, *Finding) {
	it := item{Entry: e, data: e.Value}
	var err error
	if it.subject, err = eventlog.SubjectOfKey(e.Bucket, e.Key); err != nil {
		return it, e.finding(ReasonInvalidKey, "%v", err)
	}
	if e.Bucket == eventlog.BucketHeartbeat {
		it.device, _ = eventlog.DeviceOfPulse(it.subject)
	} else {
		a, err := eventlog.ParseSubject(it.subject)
		if err != nil {
			return it, e.finding(ReasonInvalidKey, "%v", err)
		}
		it.device, it.deployment = a.Device, a.Deployment
	}
	if err := eventlog.CheckName("device", it.device); err != nil {
		return it, e.finding(ReasonInvalidName, "%v", err)
	}
	if it.deployment != "" {
		if err := eventlog.CheckName("deployment", it.deployment); err != nil {
			return it, e.finding(ReasonInvalidName, "%v", err)
		}
	}
	if e.Deleted {
		it.data = nil
		return it, nil
	}
	if most := largest(e.Bucket); len(e.Value) > most {
		return it, e.finding(ReasonTooLarge, "the value is %d bytes; the event log takes %d", len(e.Value), most)
	}
	if !json.Valid(e.Value) {
		return it, e.finding(ReasonInvalidJSON, "the value, %d bytes, is not JSON", len(e.Value))
	}
	switch e.Bucket {
	case eventlog.BucketDesired:
		return it, it.readScore()
	case eventlog.BucketHeartbeat:
		return it, it.readHeartbeat()
	}
	return it, it.readReport()
}

// largest is what a value of a bucket may weigh, without what an event adds to it.
func largest(bucket string) int {
	const heartbeat, envelope = 3 << 10, 4 << 10
	switch bucket {
	case eventlog.BucketHeartbeat:
		return heartbeat
	case eventlog.BucketDesired:
		return 2 * logstream.MaxMessageBytes // its canonical form counts, which is shorter where there are spaces
	}
	return logstream.MaxMessageBytes - envelope
}

// readScore makes the canonical form of a desired value, by which the log and the
// operator tell one content from another.
func (it *item) readScore() *Finding {
	s, err := eventlog.DecodeScore(it.Value)
	if err != nil {
		return it.finding(ReasonInvalidScore, "%v", err)
	}
	if it.data, err = s.Canonical(); err != nil {
		return it.finding(ReasonInvalidScore, "%v", err)
	}
	if len(it.data) > v1alpha1.MaxScoreBytes {
		return it.finding(ReasonTooLarge, "the score is %d bytes as canonical JSON; the event log takes %d", len(it.data), v1alpha1.MaxScoreBytes)
	}
	if s.Type != string(v1alpha1.ScorePodmanV0) {
		return it.finding(ReasonUnknownScoreType, "the score's type is %.100q; this version knows %s", s.Type, v1alpha1.ScorePodmanV0)
	}
	if err := score.CheckAuthored(it.data); err != nil {
		return it.finding(ReasonInvalidScore, "%.500s", err)
	}
	return nil
}

func (it *item) readHeartbeat() *Finding {
	var h eventlog.Heartbeat
	if err := json.Unmarshal(it.Value, &h); err != nil {
		return it.finding(ReasonInvalidValue, "the value is no heartbeat: %.200s", err)
	}
	if h.DeviceID != it.device {
		return it.finding(ReasonInvalidValue, "the value speaks of device %.100q", h.DeviceID)
	}
	it.says = h.At
	return nil
}

func (it *item) readReport() *Finding {
	e, err := eventlog.Decode(it.subject, nil, it.Value, 1, it.Created)
	if err == nil {
		err = eventlog.Check(e)
	}
	if err != nil {
		return it.finding(ReasonInvalidValue, "%.300s", err)
	}
	if it.Bucket == eventlog.BucketState {
		s, err := e.State()
		if err != nil {
			return it.finding(ReasonInvalidValue, "%.300s", err)
		}
		it.says = s.LastEventAt
		return nil
	}
	i, err := e.Info()
	if err != nil {
		return it.finding(ReasonInvalidValue, "%.300s", err)
	}
	it.says = i.UpdatedAt
	return nil
}

// id is the id of what an entry becomes. It is the same in each run, so that no run
// appends what an earlier one did.
func id(origin, what, key string, revision uint64, at time.Time, data []byte) string {
	h := sha256.New()
	for _, s := range []string{origin, what, key} {
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		_, _ = h.Write([]byte(s))
	}
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, revision))
	_, _ = h.Write(data)
	var u ulid.ULID
	_ = u.SetTime(min(uint64(max(0, at.UnixMilli())), ulid.MaxTime())) // within the bounds it does not fail
	_ = u.SetEntropy(h.Sum(nil)[:10])                                  // ten bytes do not fail
	return u.String()
}
