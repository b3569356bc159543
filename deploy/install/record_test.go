package install_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/install"
)

func TestARecordIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	want := install.Record{
		State: install.Installed, Version: "v1.2.0", Before: "v1.1.3", Profile: "lab", ImagesFrom: "registry.example.com/fleet",
		Secrets: []string{"fleet-ca", "fleet-nats-admin"},
		Values:  chart.Values{"nats": map[string]any{"replicas": 3.0, "storage": map[string]any{"size": "20Gi"}}},
		Objects: []install.Ref{{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "fleet-system", Name: "fleet-operator"}},
		Changed: time.Date(2026, 11, 29, 7, 0, 0, 0, time.UTC),
	}
	o, err := want.Object("fleet-system")
	if err != nil {
		t.Fatal(err)
	}
	got, err := install.ParseRecord(o)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestOnlyWhatIsNotWishedAnyMoreIsLeftOver(t *testing.T) {
	t.Parallel()
	ref := func(version, kind, name string) install.Ref {
		return install.Ref{APIVersion: version, Kind: kind, Name: name}
	}
	before := []install.Ref{ref("policy/v1beta1", "PodDisruptionBudget", "nats"), ref("v1", "Service", "old"), ref("v1", "Service", "nats")}
	now := []install.Ref{ref("policy/v1", "PodDisruptionBudget", "nats"), ref("v1", "Service", "nats")}
	if d := cmp.Diff([]install.Ref{ref("v1", "Service", "old")}, install.Leftover(before, now)); d != "" {
		t.Errorf("an object whose kind moved to a newer version is the same object: %s", d)
	}
}

func TestVersionsAreTakenOneMinorAtATime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ from, to, refused string }{
		{"v0.1.0", "v0.1.0", ""},
		{"v0.1.0", "v0.1.7", ""},
		{"v0.1.7", "v0.1.0", ""},
		{"v0.1.0", "v0.2.3", ""},
		{"v0.1.0-3-gabcdef", "v0.2.0", ""},
		{"v0.1.0-3-gabcdef", "v0.3.0", "v0.2"},
		{"v0.1.0", "v0.1.0-12-gabcdef-dirty", ""},
		{"v0.1.0-12-gabcdef", "v0.1.0", ""},
		{"v0.2.0-rc.1", "v0.2.0", ""},
		{"v0.1.0", "v0.3.0", "v0.2"},
		{"v0.2.0", "v0.1.9", "older"},
		{"v0.9.0", "v1.0.0", ""},
		{"v0.9.0", "v1.1.0", "v1.0"},
		{"v1.0.0", "v0.9.0", "older"},
		{"v1.9.0", "v3.0.0", "v2.0"},
		{"dev", "v3.0.0", ""},
		{"v0.1.0", "c98762b", ""},
	} {
		err := install.Upgradable(tt.from, tt.to)
		if tt.refused == "" {
			if err != nil {
				t.Errorf("%s to %s: %v", tt.from, tt.to, err)
			}
			continue
		}
		var wrong *install.VersionError
		if !errors.As(err, &wrong) || !strings.Contains(wrong.Sentence+wrong.Remedy, tt.refused) {
			t.Errorf("%s to %s: %v, want a part of it to be %q", tt.from, tt.to, err, tt.refused)
		}
	}
}
