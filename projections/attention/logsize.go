package attention

import (
	"fmt"

	"fleet.nationtech.io/eventlog/logstream"
)

// LogSize is how full the log is.
type LogSize struct {
	Bytes    uint64
	MaxBytes uint64 // 0: nothing but the disk bounds it
	// Size is what MaxBytes is once the log's reserve is open: the last tenth, which the
	// operator that leads opens once. 0 where that is not known.
	Size uint64
}

// SizeOf is how full a log is.
func SizeOf(log logstream.Info) *LogSize {
	return &LogSize{Bytes: log.Bytes, MaxBytes: uint64(max(0, log.MaxBytes)), Size: uint64(max(0, log.Size))}
}

// LogAlarm is the share of the log's size from which it needs a person.
const LogAlarm = 0.8

// Room is what room a log has, the most first.
type Room int

// The rooms.
const (
	RoomEnough  Room = iota
	RoomLittle       // it has LogAlarm of its size and more
	RoomReserve      // it lives on its reserve, or is about to
	RoomNone         // it refuses events, the large ones first
)

// Room is what room the log has.
func (s LogSize) Room() Room {
	full := s.MaxBytes > 0 && s.Bytes+logstream.MaxMessageBytes > s.MaxBytes
	switch {
	case s.MaxBytes == 0:
		return RoomEnough
	case full && s.Size <= s.MaxBytes:
		return RoomNone
	case full, s.Size == s.MaxBytes:
		return RoomReserve
	case float64(s.Bytes) >= LogAlarm*float64(s.MaxBytes):
		return RoomLittle
	}
	return RoomEnough
}

// Sentence says what room the log has; empty where that is enough.
func (s LogSize) Sentence() string {
	switch s.Room() {
	case RoomLittle:
		return fmt.Sprintf("it is %.0f %% full", 100*float64(s.Bytes)/float64(s.MaxBytes))
	case RoomReserve:
		if s.Size == s.MaxBytes {
			return "it has reached its size and lives on its reserve, the last tenth: once that is used up nothing is recorded or decided any more"
		}
		return "it has reached its size, and the operator opens its reserve, the last tenth, with the next event that does not fit"
	case RoomNone:
		if s.Size == 0 {
			return "it is full: unless the operator has a reserve left to open, nothing is recorded or decided any more"
		}
		return "it is full, its reserve too: nothing is recorded or decided any more, the largest events first"
	}
	return ""
}

// logSize is about how full the log is.
func (l *list) logSize() {
	s := l.facts.Log
	if s == nil || s.Room() == RoomEnough {
		return
	}
	i := Item{
		Kind: LogFull, Severity: Critical, Title: "the event log is full", Command: "fleetctl doctor",
		Reason: fmt.Sprintf("the log has %d of %d bytes; %s; raise the operator's --log-max-bytes", s.Bytes, s.MaxBytes, s.Sentence()),
	}
	switch s.Room() {
	case RoomLittle:
		i.Severity, i.Title = Warning, "the event log fills up"
	case RoomReserve:
		i.Title = "the event log lives on its reserve"
		if s.Size > s.MaxBytes {
			i.Title = "the event log has reached its size"
		}
	}
	l.add(i)
}
