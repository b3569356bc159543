package eventlog

import (
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// Projection is how a bucket of the contract comes out of a stream: which
// subjects become which keys.
type Projection struct {
	Bucket string
	Stream string // the source
	From   string // the source's subjects
	To     string // the bucket's subjects, as the server's transform writes them
	KV     string // the bucket's subjects, as a filter
	Live   string // where new values are sent to at once, as a transform; empty for nowhere
}

// ProjectionOf gives a bucket's projection; the zero one for a bucket that is
// none of the contract's.
func ProjectionOf(bucket string) Projection {
	const first, second = "{{wildcard(1)}}", "{{wildcard(2)}}"
	p := Projection{Bucket: bucket, Stream: LogStream}
	switch bucket {
	case BucketDesired:
		p.From = DesiredSubject(any1, any1)
		p.To = KVSubject(bucket, DesiredKey(first, second))
		p.KV = KVSubject(bucket, DesiredKey(any1, any1))
		p.Live = LiveSubject(first, second)
	case BucketState:
		p.From = StateSubject(any1, any1)
		p.To = KVSubject(bucket, StateKey(first, second))
		p.KV = KVSubject(bucket, StateKey(any1, any1))
	case BucketInfo:
		p.From = InfoSubject(any1)
		p.To = KVSubject(bucket, InfoKey(first))
		p.KV = KVSubject(bucket, InfoKey(any1))
	case BucketHeartbeat:
		p.Stream = PulseStream
		p.From = PulseSubject(any1)
		p.To = KVSubject(bucket, HeartbeatKey(first))
		p.KV = KVSubject(bucket, HeartbeatKey(any1))
	default:
		return Projection{}
	}
	return p
}

// Key gives the bucket's key of a subject of the source.
func (p Projection) Key(subject string) (string, bool) {
	a, err := ParseSubject(subject)
	switch {
	case p.Bucket == BucketHeartbeat:
		device, ok := DeviceOfPulse(subject)
		return HeartbeatKey(device), ok
	case err != nil:
		return "", false
	case p.Bucket == BucketDesired && a.Family == FamilyDesired:
		return DesiredKey(a.Device, a.Deployment), true
	case p.Bucket == BucketState && a.Family == FamilyState:
		return StateKey(a.Device, a.Deployment), true
	case p.Bucket == BucketInfo && a.Family == FamilyInfo:
		return InfoKey(a.Device), true
	}
	return "", false
}

// SourceOf reads the header Nats-Stream-Source, which the server puts on what it
// sources: the stream, and the sequence there, which survives a rebuild of the
// bucket.
func SourceOf(h nats.Header) (stream string, sequence uint64, ok bool) {
	f := strings.Fields(first(h, HeaderStreamSource))
	if len(f) < 2 {
		return "", 0, false
	}
	stream, _, _ = strings.Cut(f[0], ":") // "FLEET:…" where the stream is in another account or domain
	n, err := strconv.ParseUint(f[1], 10, 64)
	return stream, n, err == nil && n > 0
}
