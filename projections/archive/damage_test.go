package archive_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"fleet.nationtech.io/projections/archive"
)

// damaged writes a file of other content beside and checks it.
func damaged(t *testing.T, dir string, content []byte) error {
	t.Helper()
	path := filepath.Join(dir, "damaged")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := archive.Check(t.Context(), path, archive.CheckOptions{})
	return err
}

// Guarantee: a file that is not as it was written is refused, whatever happened
// to it and wherever.
func TestNoByteOfAnArchiveCanChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fleet(1)
	path := file(t)
	w.archive(path, archive.CreateOptions{})
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	refused := func(rt *rapid.T, how string, content []byte) {
		if err := damaged(t, dir, content); !errors.Is(err, archive.ErrDamaged) && !errors.Is(err, archive.ErrNotArchive) && !errors.Is(err, archive.ErrNewer) {
			rt.Fatalf("%s: %v", how, err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		at := rapid.IntRange(0, len(sound)-1).Draw(rt, "at")
		flipped := append([]byte(nil), sound...)
		flipped[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		refused(rt, "a bit changed", flipped)
		refused(rt, "cut off", sound[:at])
		refused(rt, "a byte missing", append(append([]byte(nil), sound[:at]...), sound[at+1:]...))
	})
	refused(nil, "something appended", append(append([]byte(nil), sound...), 0))
	if err := damaged(t, dir, sound); err != nil {
		t.Errorf("the sound file: %v", err)
	}
}

func TestDamageIsNamedByItsPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fleet(150)
	path := file(t)
	made := w.archive(path, archive.CreateOptions{})
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	second := made.Chunks[1]
	for name, c := range map[string]struct {
		content func() []byte
		after   uint64
		says    []string
		cut     bool
	}{
		"within a chunk": {
			content: func() []byte { b := append([]byte(nil), sound...); b[second.Offset+second.Size/2]++; return b },
			after:   made.Chunks[0].Last, says: []string{"log/00000002", "SHA-256"},
		},
		"between two chunks": {
			content: func() []byte { b := append([]byte(nil), sound...); b[second.Offset-1]++; return b },
			after:   made.Chunks[0].Last, says: []string{"what follows log/00000001"},
		},
		"a chunk is missing": {
			content: func() []byte {
				third := made.Chunks[2]
				return append(append([]byte(nil), sound[:second.Offset-512]...), sound[third.Offset-512:]...)
			},
			after: made.Chunks[0].Last, says: []string{"log/00000003", "out of order"},
		},
		"cut within a chunk": {
			content: func() []byte { return sound[:second.Offset+10] },
			after:   made.Chunks[0].Last, says: []string{"is cut off at byte", "log/00000002", "the rest is missing"}, cut: true,
		},
		"cut after a chunk": {
			content: func() []byte { return sound[:second.Offset-512] },
			after:   made.Chunks[0].Last, says: []string{"what follows log/00000001"}, cut: true,
		},
		"cut before its end": {
			content: func() []byte { return sound[:len(sound)-1] },
			after:   made.Last.Sequence, says: []string{"is cut off at byte"}, cut: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := damaged(t, t.TempDir(), c.content())
			var d *archive.Damage
			if !errors.As(err, &d) {
				t.Fatalf("%v, want a Damage", err)
			}
			if d.After != c.after || d.Cut != c.cut {
				t.Errorf("after event %d, cut %v; want %d, %v", d.After, d.Cut, c.after, c.cut)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
		})
	}
	for name, content := range map[string]string{"an empty file": "", "a text": strings.Repeat("hello\n", 1000)} {
		if err := damaged(t, t.TempDir(), []byte(content)); !errors.Is(err, archive.ErrNotArchive) {
			t.Errorf("%s: %v, want ErrNotArchive", name, err)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte("head.json"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "a")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Check(t.Context(), path, archive.CheckOptions{}); err == nil {
			t.Error("what nobody wrote was accepted")
		}
	})
}
