package eventlog_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
)

// The examples are those of W3C Trace Context, section 3.2.
func TestATraceparentIsReadAsW3CSays(t *testing.T) {
	t.Parallel()
	const valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	tests := map[string]struct {
		text    string
		refused bool
	}{
		"a sampled one":                       {valid, false},
		"one that is not sampled":             {strings.TrimSuffix(valid, "1") + "0", false},
		"flags that are not known yet":        {strings.TrimSuffix(valid, "01") + "ff", false},
		"a newer version":                     {"cc" + valid[2:], false},
		"a newer version that says more":      {"cc" + valid[2:] + "-what-will-be", false},
		"a newer version that runs on":        {"cc" + valid[2:] + "x", true},
		"version 00 that says more":           {valid + "-what", true},
		"version ff":                          {"ff" + valid[2:], true},
		"upper case":                          {strings.ToUpper(valid), true},
		"a trace id of zeros":                 {"00-00000000000000000000000000000000-00f067aa0ba902b7-01", true},
		"a parent id of zeros":                {"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", true},
		"nothing":                             {"", true},
		"too short":                           {valid[:54], true},
		"a field that is one character short": {"00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-011", true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := eventlog.ParseTraceContext(tc.text)
			if (err != nil) != tc.refused {
				t.Fatalf("error %v, want refused %v", err, tc.refused)
			}
			if err == nil && tc.text[:2] == "00" && c.String() != tc.text {
				t.Errorf("written again it is %s", c)
			}
		})
	}
}

func TestEachTraceContextIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var c eventlog.TraceContext
		copy(c.TraceID[:], rapid.SliceOfN(rapid.ByteRange(1, 255), 16, 16).Draw(t, "trace"))
		copy(c.SpanID[:], rapid.SliceOfN(rapid.ByteRange(1, 255), 8, 8).Draw(t, "span"))
		c.Flags = rapid.Byte().Draw(t, "flags")
		got, err := eventlog.ParseTraceContext(c.String())
		if err != nil || got != c {
			t.Fatalf("%s was read as %s, %v", c, got, err)
		}
	})
}

func TestATraceIDIsReadAsAPersonGivesIt(t *testing.T) {
	t.Parallel()
	const valid = "4bf92f3577b34da6a3ce929d0e0e4736"
	tests := map[string]struct {
		text    string
		refused bool
	}{
		"32 digits":          {valid, false},
		"in upper case":      {strings.ToUpper(valid), false},
		"zeros":              {strings.Repeat("0", 32), true},
		"a digit too few":    {valid[1:], true},
		"a digit too many":   {valid + "0", true},
		"other characters":   {"x" + valid[1:], true},
		"a traceparent":      {"00-" + valid + "-00f067aa0ba902b7-01", true},
		"nothing":            {"", true},
		"no ASCII character": {strings.Repeat("é", 16), true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, err := eventlog.ParseTraceID(tc.text)
			if (err != nil) != tc.refused {
				t.Fatalf("error %v, want refused %v", err, tc.refused)
			}
			if err != nil {
				return
			}
			e := eventlog.Event{Traceparent: eventlog.TraceContext{TraceID: id, SpanID: [8]byte{1}}.String()}
			if e.TraceID() != valid {
				t.Errorf("an event of that trace names %q", e.TraceID())
			}
		})
	}
}
