package fleetctl

import (
	"strings"
	"testing"

	"fleet.nationtech.io/projections/viewdiff"
)

func TestDifferencesHaveTheirColours(t *testing.T) {
	t.Parallel()
	d := difference{Changes: []viewdiff.Change{
		{Change: viewdiff.Added, About: viewdiff.AboutDevice, Device: "pi-01"},
		{Change: viewdiff.Removed, About: viewdiff.AboutDevice, Device: "pi-02"},
		{Change: viewdiff.Changed, About: viewdiff.AboutDevice, Device: "pi-03", Fields: []viewdiff.Field{{Path: "reason", After: []byte(`"\u001b[2J` + strings.Repeat("x", 300) + `"`)}}},
	}}
	got := d.text(true)
	for _, want := range []string{green + "+ device pi-01" + plain, red + "- device pi-02" + plain, yellow + "~ device pi-03" + plain, "x…"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "\x1b[2J") {
		t.Error("what a device says moves the cursor")
	}
	if strings.Contains(d.text(false), "\x1b") {
		t.Error("colours where there are to be none")
	}
}

func TestWhatAChangeIsAbout(t *testing.T) {
	t.Parallel()
	all := map[string]viewdiff.Change{
		"deployment": {About: viewdiff.AboutDeployment, Namespace: "shop", Deployment: "web"},
		"other":      {About: viewdiff.AboutDeployment, Namespace: "lab", Deployment: "web"},
		"device":     {About: viewdiff.AboutDevice, Device: "pi-01"},
		"assignment": {About: viewdiff.AboutAssignment, Namespace: "shop", Deployment: "web", Device: "pi-01"},
		"unknown":    {About: viewdiff.AboutState, Deployment: "web", Device: "pi-02"},
	}
	tests := map[string]struct {
		device, deployment string
		want               string
	}{
		"everything":                {want: "assignment deployment device other unknown"},
		"a device":                  {device: "pi-01", want: "assignment device"},
		"a Deployment":              {deployment: "shop/web", want: "assignment deployment unknown"},
		"a Deployment of any space": {deployment: "web", want: "assignment deployment other unknown"},
		"both":                      {device: "pi-01", deployment: "shop/web", want: "assignment deployment device"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sel, err := newSelection(tt.device, tt.deployment, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, name := range []string{"assignment", "deployment", "device", "other", "unknown"} {
				if concerns(sel, all[name]) {
					got = append(got, name)
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("about: %v, want %s", got, tt.want)
			}
		})
	}
}
