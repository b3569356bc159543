package viewdiff_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/viewdiff"
)

func scoreOf(data string) []byte {
	b, err := eventlog.Score{Type: "PodmanV0", Data: json.RawMessage(data)}.Canonical()
	if err != nil {
		panic(err)
	}
	return b
}

func TestScores(t *testing.T) {
	t.Parallel()
	base := `{"services":[{"name":"web","image":"nginx:1.26","ports":["80:80"],"env":{"A":"1"}}]}`
	tests := map[string]struct {
		before, after []byte
		want          []string
	}{
		"the same": {scoreOf(base), scoreOf(base), nil},
		"an image": {
			scoreOf(base), scoreOf(strings.ReplaceAll(base, "1.26", "1.27")),
			[]string{"services[web].image: nginx:1.26 → nginx:1.27"},
		},
		"environment key by key": {
			scoreOf(base), scoreOf(strings.ReplaceAll(base, `"A":"1"`, `"B.C":"2","D":""`)),
			[]string{`services[web].env.A: "1" → `, `services[web].env["B.C"]:  → "2"`, `services[web].env.D:  → ""`},
		},
		"a service that is added shows its fields, and one that goes too": {
			scoreOf(base), scoreOf(`{"services":[{"name":"db","image":"pg:16","env":{"X":"y"}}]}`),
			[]string{
				"services[db].env.X:  → y", "services[db].image:  → pg:16",
				`services[web].env.A: "1" → `, "services[web].image: nginx:1.26 → ", "services[web].ports: 80:80 → ",
			},
		},
		"lists as a whole": {
			scoreOf(base), scoreOf(strings.ReplaceAll(base, `"80:80"`, `"80:80","90:90"`)),
			[]string{"services[web].ports: 80:80 → 80:80, 90:90"},
		},
		"the order alone": {
			scoreOf(`{"services":[{"name":"a"},{"name":"b"}]}`), scoreOf(`{"services":[{"name":"b"},{"name":"a"}]}`),
			[]string{"score: " + eventlog.Hash(scoreOf(`{"services":[{"name":"a"},{"name":"b"}]}`)) + " → " + eventlog.Hash(scoreOf(`{"services":[{"name":"b"},{"name":"a"}]}`))},
		},
		"another type": {
			scoreOf(base), []byte(`{"data":{"module":"x.wasm"},"type":"WasmV1"}`),
			[]string{
				"score.type: PodmanV0 → WasmV1", "module:  → x.wasm",
				`services[web].env.A: "1" → `, "services[web].image: nginx:1.26 → ", "services[web].ports: 80:80 → ",
			},
		},
		"data that is no object": {
			[]byte(`{"data":7,"type":"T"}`), []byte(`{"data":8,"type":"T"}`), []string{"score.data: 7 → 8"},
		},
		"what is no score": {
			[]byte(`[1]`), []byte(`[2]`), []string{"score: [1] → [2]"},
		},
		"a number and its digits are not the same": {
			scoreOf(`{"n":1}`), scoreOf(`{"n":"1"}`), []string{`n: 1 → "1"`},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, storytest.FieldsText(viewdiff.ScoreFields(tt.before, tt.after))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Two scores differ in something exactly if they are not the same bytes.
func TestScoresDifferWhereTheirBytesDo(t *testing.T) {
	t.Parallel()
	service := rapid.Custom(func(t *rapid.T) map[string]any {
		return map[string]any{
			"name": rapid.SampledFrom([]string{"a", "b", "c", ""}).Draw(t, "name"), "image": rapid.SampledFrom([]any{"x", "y", nil, 1}).Draw(t, "image"),
			"env": rapid.MapOf(rapid.SampledFrom([]string{"K", "a.b", "", "é"}), rapid.SampledFrom([]string{"", "1", "null", " "})).Draw(t, "env"),
		}
	})
	score := func(t *rapid.T, label string) []byte {
		data, err := json.Marshal(map[string]any{"services": rapid.SliceOfN(service, 0, 3).Draw(t, label)})
		if err != nil {
			t.Fatal(err)
		}
		return scoreOf(string(data))
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := score(t, "a"), score(t, "b")
		if got := viewdiff.ScoreFields(a, b); (len(got) == 0) != bytes.Equal(a, b) {
			t.Fatalf("%s\n%s\ndiffer in %v", a, b, storytest.FieldsText(got))
		}
		for _, f := range viewdiff.ScoreFields(nil, a) {
			if f.Before != nil || f.After == nil {
				t.Fatalf("%s: a first score brings %v", a, f)
			}
		}
	})
}

func FuzzScores(f *testing.F) {
	f.Add([]byte(`{"type":"PodmanV0","data":{}}`), []byte(`{"type":"PodmanV0"}`))
	f.Fuzz(func(_ *testing.T, a, b []byte) {
		for _, d := range viewdiff.ScoreFields(a, b) {
			_, _ = viewdiff.ValueText(d.Before), viewdiff.ValueText(d.After)
		}
	})
}
