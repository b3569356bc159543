package projections

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// However many messages a device makes the server refuse, the bucket's metadata
// lists the last ones alone.
func TestABucketListsNoMoreThanTheLastMessagesPassedOver(t *testing.T) {
	t.Parallel()
	c := jetstream.StreamConfig{Metadata: map[string]string{}}
	for n := range uint64(1000) {
		c.Metadata[metaPassed] = listed(append(passedOver(c), n))
	}
	got := passedOver(c)
	if len(got) != maxPassed || got[0] != 1000-maxPassed || got[maxPassed-1] != 999 {
		t.Errorf("it lists %d, %v", len(got), got)
	}
}
