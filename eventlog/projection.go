package eventlog

import (
	"fmt"
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

// Placeholders of a transform: the source's first and second wildcard.
const firstWildcard, secondWildcard = "{{wildcard(1)}}", "{{wildcard(2)}}"

// ProjectionOf gives a bucket's projection; the zero one for a bucket that is
// none of the contract's.
func ProjectionOf(bucket string) Projection {
	const first, second = firstWildcard, secondWildcard
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

// longerThanTokens is more than any token of a subject has. The server does not
// split a token that is shorter than the place where it is to be split.
const longerThanTokens = 1 << 20

// ToMoved is To as it is written once the bucket's source was moved n times. It
// makes the same subjects. A NATS server looks up how far it has copied a source by
// how the source's transform is written, so a transform written in a new way starts
// where OptStartSeq says, and goes on from there after a restart.
func (p Projection) ToMoved(n int) string {
	if n == 0 {
		return p.To
	}
	return strings.Replace(p.To, firstWildcard, fmt.Sprintf("{{splitfromleft(1,%d)}}", longerThanTokens+n), 1)
}

// Moves says how often a source was moved that has this transform. It is false for
// a transform that is not the projection's.
func (p Projection) Moves(to string) (n int, ok bool) {
	before, after, _ := strings.Cut(p.To, firstWildcard)
	digits, a := strings.CutPrefix(to, before+"{{splitfromleft(1,")
	digits, b := strings.CutSuffix(digits, ")}}"+after)
	if a && b {
		if n, err := strconv.Atoi(digits); err == nil && n > longerThanTokens {
			n -= longerThanTokens
			return n, to == p.ToMoved(n)
		}
	}
	return 0, to == p.To
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
	f := strings.Fields(HeaderValue(h, HeaderStreamSource))
	if len(f) < 2 {
		return "", 0, false
	}
	stream, _, _ = strings.Cut(f[0], ":") // "FLEET:…" where the stream is in another account or domain
	n, err := strconv.ParseUint(f[1], 10, 64)
	return stream, n, err == nil && n > 0
}
