package plainjson

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestATimeIsReadAsTheLibraryReadsIt(t *testing.T) {
	t.Parallel()
	check := func(t interface{ Fatalf(string, ...any) }, s string) {
		want, wantErr := time.Parse(time.RFC3339Nano, s)
		got, err := ParseTime(s)
		if (err == nil) != (wantErr == nil) || err == nil && (!got.Equal(want) || got.String() != want.String()) {
			t.Fatalf("%q is %v (%v), want %v (%v)", s, got, err, want, wantErr)
		}
	}
	for _, s := range []string{
		"2026-11-24T14:03:00Z", "2026-11-24T14:03:00.5Z", "2026-11-24T14:03:00.123456789Z", "2026-11-24T14:03:00.1234567891Z", "2026-11-24T14:03:00.Z",
		"2026-11-24T14:03:00,5Z", "2026-02-29T14:03:00Z", "2024-02-29T14:03:00Z", "2026-13-24T14:03:00Z", "2026-00-24T14:03:00Z", "2026-11-00T14:03:00Z",
		"2026-11-31T14:03:00Z", "2026-11-24T24:03:00Z", "2026-11-24T14:60:00Z", "2026-11-24T14:03:60Z", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z",
		"9999-12-31T23:59:59.999999999Z", "2026-11-24T14:03:00+01:00", "2026-11-24t14:03:00z", "2026-11-24T4:03:00Z", "2026-11-24T14:03Z", "Z", "", "noon",
		"xx26-11-24T14:03:00Z", "20xx-11-24T14:03:00Z", "x026-11-24T14:03:00Z", "2026-1a-24T14:03:00Z", "2026-11-24T14:03:00.5aZ", "2026-11-24T14:03:00Zx", "2026-11-24 14:03:00Z",
	} {
		check(t, s)
	}
	text := rapid.StringMatching(`[0-9]{4}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9]([.,][0-9]{0,11})?(Z|[+-][01][0-9]:00)`)
	rapid.Check(t, func(t *rapid.T) { check(t, text.Draw(t, "text")) })
}
