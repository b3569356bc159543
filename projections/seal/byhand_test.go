package seal_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/needs"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/seal"
)

// The program of docs/proof.md, which shares nothing with this code, comes to the
// same verdict.
func TestAProofIsCheckedByHandAsTheDocumentationSays(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"python3", "openssl"} {
		needs.Program(t, tool, "apt-get install "+tool)
	}
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "proof.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, program, _ := strings.Cut(string(doc), "```python\n")
	program, _, ok := strings.Cut(program, "```")
	if !ok {
		t.Fatal("docs/proof.md has no program any more")
	}

	_, js := natstest.Start(t).Connect(t)
	if _, err := logstream.Ensure(t.Context(), js, logstream.Config{}); err != nil {
		t.Fatal(err)
	}
	key, public := newKey(t)
	tree := seal.NewTree()
	for range 11 {
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: eventlog.InfoSubject("pi-01"), Header: nats.Header{"A": {"b"}}, Data: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
	}
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
	check := func(p seal.Proof) error {
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		file := filepath.Join(dir, "proof.json")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		c := exec.CommandContext(t.Context(), "python3", "-c", program, file, public)
		c.Dir = dir
		out, err := c.CombinedOutput()
		if err != nil {
			t.Logf("%s", out)
		}
		return err
	}
	for _, n := range []uint64{1, 4, 8, 9, 11} {
		p, err := seal.Prove(t.Context(), js, n, seal.ProveOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := check(p); err != nil {
			t.Errorf("message %d: %v", n, err)
		}
		if n == 4 {
			p.Leaf[len(p.Leaf)-1] ^= 1
			if check(p) == nil {
				t.Error("an altered message is proved")
			}
			p.Leaf[len(p.Leaf)-1] ^= 1
			p.Seal.Signature[0] ^= 1
			if check(p) == nil {
				t.Error("an altered signature is one")
			}
		}
	}
}
