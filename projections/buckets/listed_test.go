package buckets

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
		c.Metadata[metaSkipped] = listed(append(skipped(c), n))
	}
	got := skipped(c)
	if len(got) != maxSkipped || got[0] != 1000-maxSkipped || got[maxSkipped-1] != 999 {
		t.Errorf("it lists %d, %v", len(got), got)
	}
}
