package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
)

const maxExcerptLen = 120

// excerpt quotes the beginning of a payload.
func excerpt(b []byte) string {
	if len(b) > maxExcerptLen {
		return fmt.Sprintf("%q… (%d bytes)", b[:maxExcerptLen], len(b))
	}
	return fmt.Sprintf("%q", b)
}

// from says where a bucket's message says to come from.
func from(m *jetstream.RawStreamMsg) string {
	stream, sequence, ok := eventlog.SourceOf(m.Header)
	if !ok {
		return "from nowhere"
	}
	return fmt.Sprintf("from message %d of %s", sequence, stream)
}

// otherHeaders names the headers that differ.
func otherHeaders(want, got nats.Header) string {
	var names []string
	for name := range want {
		if own(name) && !slices.Equal(want[name], got[name]) {
			names = append(names, fmt.Sprintf("%s is %q, should be %q", name, got[name], want[name]))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok && own(name) {
			names = append(names, fmt.Sprintf("%s is %q, should not be there", name, got[name]))
		}
	}
	slices.Sort(names)
	return strings.Join(names, "; ")
}
