package v1alpha1_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/crds/v1alpha1"
)

// What a person wrote comes back byte for byte, known to Go or not.
func TestScoreComesBackAsItWas(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"the fields that Go knows":           `{"type":"PodmanV0","data":{"services":[{"name":"a","image":"b","ports":["80"]}]}}`,
		"unknown fields at every level":      `{"type":"PodmanV0","data":{"x":1,"services":[{"name":"a","y":{"z":[]},"healthCheck":{"tcp":{"port":1}},"resources":{"gpus":2}}]}}`,
		"an unknown type":                    `{"type":"WasmV9","data":{"modules":[{"digest":"x","n":1.0}]}}`,
		"an unknown type with odd services":  `{"type":"WasmV9","data":{"services":"none"}}`,
		"empty lists and maps stay empty":    `{"type":"PodmanV0","data":{"services":[{"name":"a","env":{},"ports":[]}]}}`,
		"no services, empty":                 `{"type":"PodmanV0","data":{"services":[]}}`,
		"no data at all":                     `{"type":"WasmV9"}`,
		"data that is empty":                 `{"type":"WasmV9","data":{}}`,
		"numbers keep their digits":          `{"type":"WasmV9","data":{"n":12345678901234567890.10}}`,
		"services of another shape entirely": `{"type":"PodmanV0","data":{"services":[{"name":5}]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var score v1alpha1.ReconcileScore
			if err := json.Unmarshal([]byte(in), &score); err != nil {
				t.Fatal(err)
			}
			for _, s := range []*v1alpha1.ReconcileScore{&score, score.DeepCopy()} {
				out, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(in, string(out)); diff != "" {
					t.Errorf("round trip (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestScoreSaysWhatItHolds(t *testing.T) {
	t.Parallel()
	var score v1alpha1.ReconcileScore

	mustDecode(t, `{"type":"PodmanV0","data":{"services":[{"name":"a","image":"b","readOnly":true}]}}`, &score)
	services, err := score.PodmanV0()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]v1alpha1.Service{{Name: "a", Image: "b", ReadOnly: true}}, services); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}

	mustDecode(t, `{"type":"WasmV9","data":{"services":[]}}`, &score)
	if _, err := score.PodmanV0(); !errors.Is(err, v1alpha1.ErrUnsupportedScore) {
		t.Errorf("another type: got %v, want ErrUnsupportedScore", err)
	}

	mustDecode(t, `{"type":"PodmanV0","data":{"services":[{"name":5}]}}`, &score)
	if _, err := score.PodmanV0(); err == nil || errors.Is(err, v1alpha1.ErrUnsupportedScore) {
		t.Errorf("another shape: got %v, want an error of decoding", err)
	}
}

// Neither side of a score is lost in silence when Go changed one of them.
func TestScoreChangedInGoIsWrittenOrRefused(t *testing.T) {
	t.Parallel()
	var score v1alpha1.ReconcileScore
	mustDecode(t, `{"type":"PodmanV0","data":{"new":1,"services":[{"name":"a","image":"b"}]}}`, &score)

	score.Data.Services[0].Image = "c"
	if _, err := json.Marshal(score); !errors.Is(err, v1alpha1.ErrStaleRaw) {
		t.Fatalf("changed beside its Raw: got %v, want ErrStaleRaw", err)
	}
	score.Data.Raw = nil
	out, err := json.Marshal(score)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"type":"PodmanV0","data":{"services":[{"name":"a","image":"c"}]}}`, string(out)); diff != "" {
		t.Errorf("written from Services (-want +got):\n%s", diff)
	}
}

func FuzzScore(f *testing.F) {
	f.Add([]byte(`{"type":"PodmanV0","data":{"services":[{"name":"a","image":"b","env":{"K":"V"}}]}}`))
	f.Add([]byte(`{"type":"","data":null}`))
	f.Add([]byte(`{"type":"X","data":{"services":[null,{"healthCheck":{"http":{"port":1}}}]}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var score v1alpha1.ReconcileScore
		if json.Unmarshal(in, &score) != nil {
			return
		}
		out, err := json.Marshal(score)
		if err != nil {
			t.Fatalf("decoded, but not encoded: %v", err)
		}
		var again v1alpha1.ReconcileScore
		if err := json.Unmarshal(out, &again); err != nil {
			t.Fatalf("encoded, but not decoded: %v", err)
		}
		if diff := cmp.Diff(score.Data.Services, again.Data.Services); diff != "" {
			t.Errorf("second time (-first +second):\n%s", diff)
		}
	})
}

func mustDecode(t *testing.T, in string, score *v1alpha1.ReconcileScore) {
	t.Helper()
	*score = v1alpha1.ReconcileScore{}
	if err := json.Unmarshal([]byte(in), score); err != nil {
		t.Fatal(err)
	}
}
