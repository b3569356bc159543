package packages_test

import (
	"testing"
	"time"

	"fleet.nationtech.io/deploy/packages"
)

func TestVersionsThatBothPackageManagersSort(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"v1.2.0":                  "1.2.0",
		"1.2.0":                   "1.2.0",
		"v1.2.0-rc.1":             "1.2.0~rc.1",
		"v1.2.0-3-gabc1234":       "1.2.0+3.gabc1234",
		"v1.2.0-rc.1-3-gabc1234":  "1.2.0~rc.1+3.gabc1234",
		"v1.2.0-3-gabc1234-dirty": "1.2.0+3.gabc1234+dirty",
		"v1.2.0-dirty":            "1.2.0+dirty",
		"abc1234":                 "0~git20260501120000.abc1234",
		"1234567":                 "0~git20260501120000.1234567",
		"abc1234-dirty":           "0~git20260501120000.abc1234.dirty",
		"unknown":                 "0~git20260501120000.unknown",
	} {
		if got := packages.Version(version, time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)); got != want {
			t.Errorf("%s is %s, want %s", version, got, want)
		}
	}
}
