package eventlog

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// The names of what is kept in an object store. They belong to subject.go, and
// stand beside it because it is long.

const objectPrefix = "$O."

// CheckpointName is the name of a saved fold: by which version of the fold, of
// which log, up to which sequence.
func CheckpointName(fold uint64, logID string, sequence uint64) string {
	return fmt.Sprintf("v%d/%s/%020d", fold, logID, sequence)
}

// ParseCheckpointName reads a name that CheckpointName made.
func ParseCheckpointName(name string) (fold uint64, logID string, sequence uint64, ok bool) {
	version, rest, _ := strings.Cut(name, "/")
	logID, at, _ := strings.Cut(rest, "/")
	fold, err := strconv.ParseUint(strings.TrimPrefix(version, "v"), 10, 64)
	if err != nil {
		return 0, "", 0, false
	}
	if sequence, err = strconv.ParseUint(at, 10, 64); err != nil {
		return 0, "", 0, false
	}
	return fold, logID, sequence, CheckpointName(fold, logID, sequence) == name
}

// ObjectStream is the stream behind an object-store bucket (ADR-20 of NATS).
func ObjectStream(bucket string) string { return "OBJ_" + bucket }

// ObjectMetaSubject holds what is said of one object.
func ObjectMetaSubject(bucket, object string) string {
	return objectPrefix + bucket + ".M." + base64.URLEncoding.EncodeToString([]byte(object))
}

// ObjectMetaSubjects matches what is said of all objects of a bucket.
func ObjectMetaSubjects(bucket string) string { return objectPrefix + bucket + ".M." + any1 }

// ObjectOfMeta gives the object that a subject of ObjectMetaSubjects speaks of.
func ObjectOfMeta(bucket, subject string) (object string, ok bool) {
	encoded, ok := strings.CutPrefix(subject, objectPrefix+bucket+".M.")
	b, err := base64.URLEncoding.DecodeString(encoded)
	return string(b), ok && err == nil
}

// ObjectChunkSubject holds the content of one object, by the id that its meta
// message gives; Wildcard for all.
func ObjectChunkSubject(bucket, id string) string { return objectPrefix + bucket + ".C." + id }
