package verify_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/buckets"
	"fleet.nationtech.io/projections/seal"
	"fleet.nationtech.io/projections/verify"
)

// Anyone who owns the disk changes the files of a stopped server, checksums and all,
// so that the server takes them. What the server itself notices and leaves out is
// found as missing.
func TestWhatTheDisksOwnerDoesIsFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stream    string
		keepIndex bool
		change    func(*block)
		want      map[verify.Kind]uint64
		says      string // what somebody can look for
	}{
		"one bit of a payload": {
			stream: eventlog.LogStream,
			change: func(b *block) { b.of(6).data[40] ^= 1 },
			want:   map[verify.Kind]uint64{verify.SealBroken: 1, verify.Foreign: 1},
			says:   "the messages 1 to 9 are not those",
		},
		"one bit of a payload after the first seal": {
			stream: eventlog.LogStream,
			change: func(b *block) {
				b.of(11).data[len(b.of(11).data)-2] ^= 1
			},
			want: map[verify.Kind]uint64{verify.SealBroken: 1, verify.ValueDiffers: 1, verify.Foreign: 1},
			says: "the messages 10 to 14 are not those",
		},
		"one bit of a header": {
			stream: eventlog.LogStream,
			change: func(b *block) { flip(b.of(4).header, "ce-source: operator", "ce-source: operatos") },
			want:   map[verify.Kind]uint64{verify.SealBroken: 1, verify.HeaderDiffers: 1},
			says:   "the messages 1 to 9 are not those",
		},
		"one bit of the time at which it was recorded": {
			stream: eventlog.LogStream,
			change: func(b *block) { b.of(7).time ^= 1 },
			want:   map[verify.Kind]uint64{verify.SealBroken: 1},
			says:   "the messages 1 to 9 are not those",
		},
		"one bit, as a disk loses it": {
			stream: eventlog.LogStream, keepIndex: true,
			change: func(b *block) { b.of(6).data[40] ^= 1; b.of(6).staleChecksum = true },
			want:   map[verify.Kind]uint64{verify.MessageMissing: 1, verify.SealBroken: 1, verify.NumberGap: 1},
			says:   "message 6 is not in the log",
		},
		"one bit of the last message, as a disk loses it": {
			stream: eventlog.LogStream, keepIndex: true,
			change: func(b *block) { b.of(16).data[40] ^= 1; b.of(16).staleChecksum = true },
			want:   map[verify.Kind]uint64{verify.MessageMissing: 1, verify.ValueDiffers: 1},
			says:   "message 16 is not in the log",
		},
		"one bit of a bucket's last message, as a disk loses it": {
			stream: eventlog.BucketStream(eventlog.BucketDesired), keepIndex: true,
			change: func(b *block) { b.of(3).data[4] ^= 1; b.of(3).staleChecksum = true },
			want:   map[verify.Kind]uint64{verify.KeyMissing: 1},
			says:   "the bucket has none",
		},
		"a message removed": {
			stream: eventlog.LogStream,
			change: func(b *block) { b.records = append(b.records[:6], b.records[7:]...) },
			want:   map[verify.Kind]uint64{verify.MessageMissing: 1, verify.SealBroken: 1, verify.NumberGap: 1},
			says:   "message 7 is not in the log",
		},
		"a message removed, and those after it moved up": {
			stream: eventlog.LogStream,
			change: func(b *block) {
				for i := 15; i > 6; i-- {
					b.records[i].sequence--
				}
				b.records = append(b.records[:6], b.records[7:]...)
			},
			want: map[verify.Kind]uint64{
				verify.SealOutOfOrder: 2, verify.NumberGap: 1, verify.ValueDiffers: 4,
			},
			says: "it covers 9 messages, and is the 9. itself",
		},
		"two messages swapped": {
			stream: eventlog.LogStream,
			change: func(b *block) {
				x, y := b.of(4), b.of(5)
				x.subject, y.subject = y.subject, x.subject
				x.header, y.header = y.header, x.header
				x.data, y.data = y.data, x.data
			},
			want: map[verify.Kind]uint64{verify.SealBroken: 1, verify.ValueDiffers: 2},
			says: "the messages 1 to 9 are not those",
		},
		"the log's tail cut off": {
			stream: eventlog.LogStream,
			change: func(b *block) { b.records = b.records[:12] },
			want:   map[verify.Kind]uint64{verify.ValueDiffers: 2, verify.KeyExtra: 1},
			says:   "which is not there",
		},
		"a bucket's value": {
			stream: eventlog.BucketStream(eventlog.BucketDesired),
			change: func(b *block) { flip(b.of(2).data, "nginx:1", "nginx:0") },
			want:   map[verify.Kind]uint64{verify.ValueDiffers: 1},
			says:   "nginx:0",
		},
		"a bucket's header": {
			stream: eventlog.BucketStream(eventlog.BucketDesired),
			change: func(b *block) { flip(b.of(2).header, "Fleet-Revision: 1", "Fleet-Revision: 9") },
			want:   map[verify.Kind]uint64{verify.HeaderDiffers: 1},
			says:   `Fleet-Revision is ["9"], should be ["1"]`,
		},
		"a bucket's key missing": {
			stream: eventlog.BucketStream(eventlog.BucketDesired),
			change: func(b *block) { b.records = append(b.records[:1], b.records[2:]...) },
			want:   map[verify.Kind]uint64{verify.KeyMissing: 1},
			says:   "the bucket has none",
		},
		"a bucket's key extra": {
			stream: eventlog.BucketStream(eventlog.BucketDesired),
			change: func(b *block) {
				r := *b.of(3)
				r.sequence, r.subject = 4, eventlog.KVSubject(eventlog.BucketDesired, "pi-09.web")
				b.records = append(b.records, r)
			},
			want: map[verify.Kind]uint64{verify.KeyExtra: 1},
			says: "the source says nothing of it",
		},
		"a bucket that says it has a later message": {
			stream: eventlog.BucketStream(eventlog.BucketDesired),
			change: func(b *block) { flip(b.of(2).header, "Nats-Stream-Source: FLEET 4 ", "Nats-Stream-Source: FLEET 5 ") },
			want:   map[verify.Kind]uint64{verify.ValueDiffers: 1},
			says:   "which is of fleet.evt.desired.pi-02.web",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.story()
			w.verify(verify.Options{}) // the buckets have all
			w.server.Stop()
			b := open(t, w.server, c.stream)
			c.change(b)
			b.save(c.keepIndex)
			w.server.Start()
			w.connect()
			r := w.verify(verify.Options{Trusted: seal.Keys{w.public}, Timeout: time.Second})
			c.want[verify.PulsesGone] = 1 // the server was restarted, and no operator is there
			wantKinds(t, r, c.want)
			if r.Differences() == 0 {
				t.Error("nothing differs")
			}
			said := fmt.Sprint(r.Findings)
			if !strings.Contains(said, c.says) {
				t.Errorf("nowhere it says %q:\n%s", c.says, said)
			}
		})
	}
}

// flip puts one text in another's place, where it is.
func flip(in []byte, from, to string) {
	i := bytes.Index(in, []byte(from))
	if i < 0 || len(from) != len(to) {
		panic(fmt.Sprintf("no %q to make %q of in %q", from, to, in))
	}
	copy(in[i:], to)
}

// What a disk lost of a bucket the log still has.
func TestABucketWhoseNewestMessageIsDamagedIsRebuilt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.story()
	w.verify(verify.Options{}) // the buckets have all
	w.server.Stop()
	b := open(t, w.server, eventlog.BucketStream(eventlog.BucketDesired))
	b.of(3).data[4] ^= 1
	b.of(3).staleChecksum = true
	b.save(true)
	w.server.Start()
	w.connect()
	if found, err := buckets.Check(t.Context(), w.js, eventlog.BucketDesired); found != buckets.Diverged || err != nil {
		t.Errorf("check = %s, %v, want Diverged", found, err)
	}
	w.ensure()
	wantKinds(t, w.verify(verify.Options{}), map[verify.Kind]uint64{})
}

// A reader of several filters gives all that is whole, in the log's order, also where
// the newest message on one of them is damaged: the server then says that there is no
// last message on it, whatever stands before.
func TestADamagedLastMessageHidesNoOtherFromAReaderOfSeveralFilters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.report("a", 1)
	damaged := w.report("a", 2)
	w.report("b", 1)
	w.server.Stop()
	b := open(t, w.server, eventlog.LogStream)
	b.of(damaged).data[4] ^= 1
	b.of(damaged).staleChecksum = true
	b.save(true)
	w.server.Start()
	w.connect()
	people, err := reader.People(w.js.Conn())
	if err != nil {
		t.Fatal(err)
	}
	for name, js := range map[string]jetstream.JetStream{"by a consumer": w.js, "by direct gets": people} {
		var got []string
		for e, err := range reader.Read(t.Context(), js, reader.Options{Subjects: []string{eventlog.StateSubject("a", "*"), eventlog.StateSubject("b", "*")}}) {
			if err != nil && !errors.Is(err, eventlog.ErrForeign) {
				t.Fatalf("%s: %v", name, err)
			}
			got = append(got, fmt.Sprintf("%s %d", e.Address.Device, e.Counter.N))
		}
		if diff := cmp.Diff([]string{"a 1", "b 1"}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
