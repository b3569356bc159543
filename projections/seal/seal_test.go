package seal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/transparency-dev/merkle/rfc6962"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/seal"
)

var at = time.Date(2026, 11, 24, 14, 3, 0, 7, time.UTC)

func newKey(tb interface{ Fatal(...any) }) (nkeys.KeyPair, string) {
	k, err := nkeys.CreateUser()
	if err != nil {
		tb.Fatal(err)
	}
	public, err := k.PublicKey()
	if err != nil {
		tb.Fatal(err)
	}
	return k, public
}

func message(n uint64) eventlog.Event {
	return eventlog.Event{Sequence: n, Recorded: at.Add(time.Duration(n)), Subject: eventlog.LeaderSubject, Data: fmt.Append(nil, n)}
}

// merkleRoot is the definition of RFC 6962, section 2.1, word by word.
func merkleRoot(leaves [][]byte) []byte {
	h := rfc6962.DefaultHasher
	switch n := len(leaves); n {
	case 0:
		return h.EmptyRoot()
	case 1:
		return h.HashLeaf(leaves[0])
	default:
		k := 1
		for 2*k < n {
			k *= 2
		}
		return h.HashChildren(merkleRoot(leaves[:k]), merkleRoot(leaves[k:]))
	}
}

func TestTheTreeIsThatOfRFC6962HoweverItIsGrown(t *testing.T) {
	t.Parallel()
	key, _ := newKey(t)
	rapid.Check(t, func(t *rapid.T) {
		tree, leaves := seal.NewTree(), [][]byte{}
		for n := range rapid.Uint64Range(0, 70).Draw(t, "size") {
			if n > 0 && rapid.Float64().Draw(t, "from a seal") < 0.1 {
				s, err := seal.Sign(key, tree, at)
				if err != nil {
					t.Fatal(err)
				}
				if tree, err = seal.Grown(s); err != nil {
					t.Fatal(err)
				}
			}
			e := message(n + 1)
			if err := tree.Clone().Add(e); err != nil { // a clone changes nothing
				t.Fatal(err)
			}
			if err := tree.Add(e); err != nil {
				t.Fatal(err)
			}
			leaves = append(leaves, e.AppendCanonical(nil))
		}
		if got, want := tree.Root(), merkleRoot(leaves); !bytes.Equal(got, want) {
			t.Errorf("root %x, want %x", got, want)
		}
	})
}

func TestATreeTakesMessagesInTheirOrderAlone(t *testing.T) {
	t.Parallel()
	tree := seal.NewTree()
	for _, n := range []uint64{2, 0} {
		if err := tree.Add(message(n)); !errors.Is(err, seal.ErrGap) {
			t.Errorf("message %d first: %v, want ErrGap", n, err)
		}
	}
}

// The signed text of the documentation, so that a seal can be checked by hand.
func TestTheSignedTextIsThatOfTheDocumentation(t *testing.T) {
	t.Parallel()
	got := string(seal.Text(eventlog.Seal{TreeSize: 42, RootHash: []byte{1, 2, 3}, Sequence: 42, SealedAt: at}))
	want := "fleet.nationtech.io/seal/v1\n42\nAQID\n42\n2026-11-24T14:03:00.000000007Z\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	key, public := newKey(t)
	_, other := newKey(t)
	tree := seal.NewTree()
	for n := range uint64(5) {
		if err := tree.Add(message(n + 1)); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		change  func(*eventlog.Seal)
		trusted seal.Keys
		want    error
	}{
		"as it was signed":                        {want: nil},
		"by the key that is trusted":              {trusted: seal.Keys{other, public}, want: nil},
		"by another key than the trusted one":     {trusted: seal.Keys{other}, want: seal.ErrKey},
		"without its peaks":                       {change: func(s *eventlog.Seal) { s.Peaks = nil }, want: nil},
		"with another root":                       {change: func(s *eventlog.Seal) { s.RootHash[0] ^= 1 }, want: seal.ErrSignature},
		"with another time":                       {change: func(s *eventlog.Seal) { s.SealedAt = s.SealedAt.Add(1) }, want: seal.ErrSignature},
		"with another size":                       {change: func(s *eventlog.Seal) { s.TreeSize, s.Sequence = 6, 6 }, want: seal.ErrSignature},
		"with the key of another":                 {change: func(s *eventlog.Seal) { s.PublicKey = other }, want: seal.ErrSignature},
		"with no key":                             {change: func(s *eventlog.Seal) { s.PublicKey = "" }, want: seal.ErrMalformed},
		"with a sequence that is not of the tree": {change: func(s *eventlog.Seal) { s.Sequence = 4 }, want: seal.ErrMalformed},
		"with other peaks":                        {change: func(s *eventlog.Seal) { s.Peaks[0], s.Peaks[1] = s.Peaks[1], s.Peaks[0] }, want: seal.ErrMalformed},
		"with too few peaks":                      {change: func(s *eventlog.Seal) { s.Peaks = s.Peaks[:1] }, want: seal.ErrMalformed},
		"with a short peak":                       {change: func(s *eventlog.Seal) { s.Peaks[0] = s.Peaks[0][:31] }, want: seal.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := seal.Sign(key, tree.Clone(), at)
			if err != nil {
				t.Fatal(err)
			}
			b, err := json.Marshal(s) // as the log keeps it
			if err != nil {
				t.Fatal(err)
			}
			s = eventlog.Seal{}
			if err := json.Unmarshal(b, &s); err != nil {
				t.Fatal(err)
			}
			if c.change != nil {
				c.change(&s)
			}
			if err := seal.Check(s, c.trusted); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestKeysAreReadFromAListAndCheckedForTheirForm(t *testing.T) {
	t.Parallel()
	_, a := newKey(t)
	_, b := newKey(t)
	got, err := seal.ParseKeys(a + ", " + b)
	if diff := cmp.Diff(seal.Keys{a, b}, got); diff != "" || err != nil {
		t.Errorf("(-want +got)\n%s, error %v", diff, err)
	}
	if _, err := seal.ParseKeys("UNONSENSE"); err == nil {
		t.Error("nonsense is a key")
	}
}

// Every message that a seal covers can be proved, whichever seal; and no change
// of the document goes unnoticed.
func TestEveryMessageIsProvedByTheFirstSealThatCoversIt(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	if _, err := logstream.Ensure(t.Context(), js, logstream.Config{}); err != nil {
		t.Fatal(err)
	}
	key, public := newKey(t)
	forger, _ := newKey(t)
	say := func(n int) {
		for i := range n {
			if _, err := js.PublishMsg(t.Context(), &nats.Msg{
				Subject: eventlog.StateSubject("pi-01", "web"), Header: nats.Header{"Fleet-N": {fmt.Sprintf("e.%d", i+1)}}, Data: []byte("no JSON: foreign"),
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	sealed := func(key nkeys.KeyPair) {
		tree := seal.NewTree()
		for e, err := range reader.Read(t.Context(), js, reader.Options{}) {
			if err != nil {
				t.Fatal(err)
			}
			if err := tree.Add(e); err != nil {
				t.Fatal(err)
			}
		}
		s, err := seal.Sign(key, tree, at)
		if err != nil {
			t.Fatal(err)
		}
		d, err := eventlog.NewDraft(eventlog.SealSubject, eventlog.SealCreated, at, s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := appender.Unfenced(t.Context(), js, "test", d); err != nil {
			t.Fatal(err)
		}
	}
	say(3)
	sealed(key) // 4, over 3
	say(6)
	sealed(forger) // 11, over 10
	say(2)
	sealed(key) // 14, over 13
	say(1)      // 15

	trusted := seal.ProveOptions{Trusted: seal.Keys{public}}
	for n := uint64(1); n <= 13; n++ {
		p, err := seal.Prove(t.Context(), js, n, trusted)
		if err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
		want := uint64(13)
		if n <= 3 {
			want = 3
		}
		if p.Seal.TreeSize != want {
			t.Errorf("message %d is proved by the seal over %d, want %d", n, p.Seal.TreeSize, want)
		}
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		e, s, err := seal.CheckProof(b, seal.Keys{public})
		if err != nil || e.Sequence != n || s.TreeSize != want {
			t.Errorf("proof of %d: message %d, seal over %d, %v", n, e.Sequence, s.TreeSize, err)
		}
		wantEveryChangeNoticed(t, p, public)
	}

	for _, n := range []uint64{14, 15} {
		if _, err := seal.Prove(t.Context(), js, n, trusted); !errors.Is(err, seal.ErrNotSealed) {
			t.Errorf("message %d: %v, want ErrNotSealed", n, err)
		}
	}
	for _, n := range []uint64{0, 16} {
		if _, err := seal.Prove(t.Context(), js, n, trusted); !errors.Is(err, seal.ErrNotInLog) {
			t.Errorf("message %d: %v, want ErrNotInLog", n, err)
		}
	}
}

func wantEveryChangeNoticed(t *testing.T, p seal.Proof, public string) {
	t.Helper()
	for name, change := range map[string]func(*seal.Proof){
		"another payload":  func(p *seal.Proof) { p.Leaf[len(p.Leaf)-1] ^= 1 },
		"another sequence": func(p *seal.Proof) { p.Leaf[7] ^= 1 },
		"another index":    func(p *seal.Proof) { p.Index ^= 1 },
		"a hash less":      func(p *seal.Proof) { p.Hashes = p.Hashes[1:] },
		"another hash":     func(p *seal.Proof) { p.Hashes[0][0] ^= 1 },
		"another format":   func(p *seal.Proof) { p.Format = "v2" },
		"another root":     func(p *seal.Proof) { p.Seal.RootHash[0] ^= 1 },
	} {
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var q seal.Proof
		if err := json.Unmarshal(b, &q); err != nil {
			t.Fatal(err)
		}
		change(&q)
		if b, err = json.Marshal(q); err != nil {
			t.Fatal(err)
		}
		if _, _, err := seal.CheckProof(b, seal.Keys{public}); err == nil {
			t.Errorf("%s goes unnoticed", name)
		}
	}
}

// Whatever bytes claim to be a proof, they are refused or they hold.
func FuzzCheckProof(f *testing.F) {
	key, _ := newKey(f)
	tree := seal.NewTree()
	if err := tree.Add(message(1)); err != nil {
		f.Fatal(err)
	}
	s, err := seal.Sign(key, tree, at)
	if err != nil {
		f.Fatal(err)
	}
	s.Peaks = nil
	b, err := json.Marshal(seal.Proof{Format: seal.ProofFormat, Leaf: message(1).AppendCanonical(nil), Hashes: [][]byte{}, Seal: s})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, s, err := seal.CheckProof(b, nil)
		if err == nil && (e.Sequence == 0 || e.Sequence > s.TreeSize) {
			t.Errorf("message %d is proved by a seal over %d", e.Sequence, s.TreeSize)
		}
	})
}
