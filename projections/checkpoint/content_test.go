package checkpoint

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

const logID = "01JDFA7Q6Z0000000000000000"

// one gives a checkpoint of a small fleet.
func one(tb testing.TB) (Key, []byte) {
	tb.Helper()
	d, err := eventlog.NewDraft(eventlog.DeviceSubject("pi-01"), eventlog.DeviceRegistered, time.Unix(1_790_000_000, 5), nil)
	if err != nil {
		tb.Fatal(err)
	}
	m := d.Message("test", "01JDFA7Q6Z0000000000000001")
	e, err := eventlog.Decode(m.Subject, m.Header, m.Data, 7, time.Unix(1_790_000_000, 7))
	content, err := encode(logID, fleet.Apply(fleet.New(), e, err))
	if err != nil {
		tb.Fatal(err)
	}
	return Key{Fold: fleet.FoldVersion, LogID: logID, Sequence: 7}, content
}

func TestAnyAlteredBitIsFound(t *testing.T) {
	t.Parallel()
	place, content := one(t)
	whole, err := decode(content, place)
	if err != nil || whole.Sequence != 7 || whole.Devices["pi-01"] == nil {
		t.Fatalf("as it is: %v, %v", whole, err)
	}
	again, err := encode(logID, whole)
	if err != nil || !bytes.Equal(again, content) {
		t.Fatalf("encoded again it differs: %v", err)
	}
	for i := range content {
		for bit := range 8 {
			b := bytes.Clone(content)
			b[i] ^= 1 << bit
			v, err := decode(b, place)
			if err == nil && v.Recorded.Equal(whole.Recorded) {
				// JSON's names do not heed case: the header says the same still.
				if again, err := encode(logID, v); err != nil || !bytes.Equal(again, content) {
					t.Fatalf("bit %d of byte %d (%q) altered the view, and was not found", bit, i, content[i])
				}
			} else if !errors.Is(err, ErrUnusable) {
				t.Fatalf("bit %d of byte %d: %v, want ErrUnusable", bit, i, err)
			}
		}
	}
	for n := range content {
		if _, err := decode(content[:n], place); !errors.Is(err, ErrUnusable) {
			t.Fatalf("the first %d bytes: %v, want ErrUnusable", n, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	place, content := one(f)
	f.Add(content)
	f.Add([]byte(magic + "{}\n"))
	f.Add([]byte(magic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decode(b, place)
		if err != nil {
			if !errors.Is(err, ErrUnusable) {
				t.Errorf("%v is not ErrUnusable", err)
			}
			return
		}
		if v.Sequence != place.Sequence {
			t.Errorf("the view is at sequence %d", v.Sequence)
		}
	})
}
