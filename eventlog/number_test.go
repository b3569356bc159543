package eventlog_test

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
)

func TestAScoreWhoseNumbersCanonicalJSONCannotCarryIsRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ data, refused string }{
		"the largest integer that is carried":     {data: `{"services":[{"x-serial":9007199254740992}]}`},
		"one more":                                {data: `{"services":[{"x-serial":9007199254740993}]}`, refused: "score.data.services[0].x-serial is the number 9007199254740993"},
		"one less than the smallest":              {data: `{"a":{"b":[1,[2,-9007199254740993]]}}`, refused: "score.data.a.b[1][1] is the number -9007199254740993"},
		"the largest of 64 bits":                  {data: `{"n":9223372036854775807}`, refused: "score.data.n is the number"},
		"a large integer with many zeros":         {data: `{"n":9007199254740992000}`},
		"a fraction":                              {data: `{"n":0.1,"m":1.50,"k":-2.5e-3}`},
		"a fraction of too many digits":           {data: `{"n":0.1234567890123456789}`, refused: "score.data.n is the number"},
		"zeros of each kind":                      {data: `{"n":[0,-0,0.000,0e99999999999999999999]}`},
		"a number that is too large for a double": {data: `{"n":1e400}`, refused: "score.data.n is the number 1e400"},
		"a power that nobody would write out":     {data: `{"n":1e99999999999999999999}`, refused: "score.data.n is the number"},
		"digits in a text, and as a key":          {data: `{"9007199254740993":"9007199254740993"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := eventlog.Score{Type: "PodmanV0", Data: json.RawMessage(tt.data)}.Canonical()
			switch {
			case tt.refused == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.refused != "" && (err == nil || !strings.Contains(err.Error(), tt.refused) || !strings.Contains(err.Error(), "write it as a string")):
				t.Errorf("error %v, want it to say %q and what to do", err, tt.refused)
			}
		})
	}
}

// What canonical JSON gives back is the number that was put in, or it was refused.
func TestANumberIsCarriedExactlyOrRefused(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		number := rapid.StringMatching(`-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?`).Draw(rt, "number")
		b, err := eventlog.Score{Type: "T", Data: json.RawMessage(`{"n":` + number + `}`)}.Canonical()
		if err != nil {
			if f, perr := strconv.ParseFloat(number, 64); perr == nil && rat(rt, number).Cmp(rat(rt, strconv.FormatFloat(f, 'e', -1, 64))) == 0 {
				rt.Fatalf("%s is refused, and a double has it: %v", number, err)
			}
			return
		}
		var back struct {
			Data struct {
				N json.Number `json:"n"`
			} `json:"data"`
		}
		if err := json.Unmarshal(b, &back); err != nil {
			rt.Fatal(err)
		}
		if rat(rt, number).Cmp(rat(rt, string(back.Data.N))) != 0 {
			rt.Fatalf("%s came back as %s", number, back.Data.N)
		}
	})
}

func rat(rt *rapid.T, number string) *big.Rat {
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		rt.Fatalf("%q is no number", number)
	}
	return r
}
