package eventlog_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
)

func TestAmounts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		json    string
		want    eventlog.Amount
		refused bool
		of      map[int]int // how many devices it is of so many
	}{
		"a number does not depend on how many there are": {json: `5`, want: eventlog.Amount{N: 5}, of: map[int]int{0: 5, 3: 5, 4000: 5}},
		"a number as text":              {json: `"5"`, want: eventlog.Amount{N: 5}},
		"none":                          {json: `0`, want: eventlog.Amount{}, of: map[int]int{7: 0}},
		"a percentage rounds up":        {json: `"10%"`, want: eventlog.Amount{N: 10, Percent: true}, of: map[int]int{0: 0, 1: 1, 10: 1, 11: 2, 4000: 400}},
		"all":                           {json: `"100%"`, want: eventlog.Amount{N: 100, Percent: true}, of: map[int]int{1: 1, 4001: 4001}},
		"a negative number":             {json: `-1`, refused: true},
		"a negative percentage":         {json: `"-1%"`, refused: true},
		"a fraction":                    {json: `1.5`, refused: true},
		"a word":                        {json: `"half"`, refused: true},
		"a percentage without a number": {json: `"%"`, refused: true},
		"an empty text":                 {json: `""`, refused: true},
		"a list":                        {json: `[5]`, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got eventlog.Amount
			err := json.Unmarshal([]byte(tt.json), &got)
			if (err != nil) != tt.refused || got != tt.want {
				t.Fatalf("got %+v, error %v; want %+v, refused %v", got, err, tt.want, tt.refused)
			}
			for n, want := range tt.of {
				if got := got.Of(n); got != want {
					t.Errorf("of %d it is %d, want %d", n, got, want)
				}
			}
		})
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		json    string
		want    time.Duration
		refused bool
	}{
		"minutes":                        {json: `"5m"`, want: 5 * time.Minute},
		"hours and minutes":              {json: `"1h30m"`, want: 90 * time.Minute},
		"none":                           {json: `"0s"`},
		"a negative one":                 {json: `"-5m"`, refused: true},
		"a number, as JSON of Go's type": {json: `300000000000`, refused: true},
		"without a unit":                 {json: `"5"`, refused: true},
		"a word":                         {json: `"soon"`, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got eventlog.Duration
			err := json.Unmarshal([]byte(tt.json), &got)
			if (err != nil) != tt.refused || time.Duration(got) != tt.want {
				t.Errorf("got %v, error %v; want %v, refused %v", time.Duration(got), err, tt.want, tt.refused)
			}
		})
	}
}

// What an author did not say is absent, so that a default can be told from it.
func TestRolloutSettingsAreWrittenAsTheirAuthorWroteThem(t *testing.T) {
	t.Parallel()
	for name, said := range map[string]string{
		"nothing":                   `{}`,
		"Immediate":                 `{"strategy":"Immediate"}`,
		"a limit alone":             `{"maxUnavailable":3}`,
		"the last batch's soak":     `{"batches":[{"size":1},{"soak":"2m0s"}]}`,
		"a pin that a person opens": `{"batches":[{"selector":{"matchLabels":{"canary":"true"}},"approval":"Manual","fourEyes":true},{}]}`,
		"everything": `{"strategy":"Batched","batches":[{"size":"1%","soak":"5m0s","approval":"Automatic"},{}],"successThreshold":"95%","maxUnavailable":"10%",` +
			`"progressDeadline":"10m0s","offlineDevices":"Wait","onFailure":"Rollback","paused":true,"dependsOn":["base"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s eventlog.RolloutSettings
			if err := json.Unmarshal([]byte(said), &s); err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(said, string(got)); diff != "" {
				t.Errorf("(-as it was said +as it is written):\n%s", diff)
			}
		})
	}
}

func FuzzRolloutSettings(f *testing.F) {
	f.Add([]byte(`{"strategy":"Batched","batches":[{"size":"1%","soak":"5m"},{}],"maxUnavailable":3,"progressDeadline":"10m"}`))
	f.Add([]byte(`{"successThreshold":"+5%","batches":[{"size":"007"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again eventlog.RolloutSettings
		if json.Unmarshal(b, &s) != nil {
			return
		}
		out, err := json.Marshal(s)
		if err != nil {
			t.Fatalf("cannot be written: %v", err)
		}
		if err := json.Unmarshal(out, &again); err != nil {
			t.Fatalf("%s cannot be read back: %v", out, err)
		}
		if twice, err := json.Marshal(again); err != nil || string(twice) != string(out) {
			t.Fatalf("not stable: %s, then %s (%v)", out, twice, err)
		}
	})
}
