package reader

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestAPlaceIsReadAsTheClientReadsIt(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reply string
		want  delivery
		ok    bool
	}{
		"short":                    {"$JS.ACK.FLEET.abc.1.7.2.1732456980000000001.9", delivery{7, 2, time.Unix(0, 1732456980000000001)}, true},
		"with domain":              {"$JS.ACK.hub.HASH.FLEET.abc.1.7.2.1732456980000000001.9", delivery{7, 2, time.Unix(0, 1732456980000000001)}, true},
		"with domain and a token":  {"$JS.ACK._.HASH.FLEET.abc.1.7.2.1732456980000000001.9.r4nd", delivery{7, 2, time.Unix(0, 1732456980000000001)}, true},
		"none":                     {"", delivery{}, false},
		"an inbox":                 {"_INBOX.a.b.c.1.7.2.1732456980000000001.9", delivery{}, false},
		"too short":                {"$JS.ACK.FLEET.abc.1.7.2", delivery{}, false},
		"between the two lengths":  {"$JS.ACK.FLEET.abc.1.7.2.1732456980000000001.9.x", delivery{}, false},
		"a sequence that is none":  {"$JS.ACK.FLEET.abc.1.x.2.1732456980000000001.9", delivery{}, false},
		"a sequence beyond number": {"$JS.ACK.FLEET.abc.1.99999999999999999999.2.1732456980000000001.9", delivery{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := deliveryOf(tt.reply)
			if got != tt.want || ok != tt.ok {
				t.Errorf("place %+v, %v; want %+v, %v", got, ok, tt.want, tt.ok)
			}
			if !ok {
				return
			}
			meta, err := (&nats.Msg{Reply: tt.reply, Sub: &nats.Subscription{}}).Metadata()
			if err != nil || meta.Sequence.Stream != got.sequence || meta.Sequence.Consumer != got.delivered || !meta.Timestamp.Equal(got.recorded) {
				t.Errorf("the client reads %+v (%v), we %+v", meta, err, got)
			}
		})
	}
}
