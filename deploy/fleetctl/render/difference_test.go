package render

import (
	"strings"
	"testing"

	"fleet.nationtech.io/projections/viewdiff"
)

func TestDifferencesHaveTheirColours(t *testing.T) {
	t.Parallel()
	d := Difference{Changes: []viewdiff.Change{
		{Change: viewdiff.Added, About: viewdiff.AboutDevice, Device: "pi-01"},
		{Change: viewdiff.Removed, About: viewdiff.AboutDevice, Device: "pi-02"},
		{Change: viewdiff.Changed, About: viewdiff.AboutDevice, Device: "pi-03", Fields: []viewdiff.Field{{Path: "reason", After: []byte(`"\u001b[2J` + strings.Repeat("x", 300) + `"`)}}},
	}}
	got := d.Text(true)
	for _, want := range []string{green + "+ device pi-01" + plain, red + "- device pi-02" + plain, yellow + "~ device pi-03" + plain, "x…"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "\x1b[2J") {
		t.Error("what a device says moves the cursor")
	}
	if strings.Contains(d.Text(false), "\x1b") {
		t.Error("colours where there are to be none")
	}
}
