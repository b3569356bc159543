package install

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/chart"
)

// settled gives what a run would install over what is there.
func settled(t *testing.T, before *Record, o Options) (*run, error) {
	t.Helper()
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &run{Options: o, before: before}
	r.Keep = true
	return r, r.settle(t.Context())
}

func imagesOf(r *run) map[string]any {
	all, _ := r.chartOptions().Values["images"].(chart.Values)
	return all
}

// An upgrade that kept the images of before would upgrade nothing.
func TestAnUpgradeTakesTheImagesOfItsOwnVersion(t *testing.T) {
	t.Parallel()
	before := &Record{
		State: Installed, Version: "v0.1.0", Profile: "lab", ImagesFrom: "registry.example.com/fleet",
		Values: chart.Values{"images": chart.Values{"nats": "nats:2"}, "openshift": true},
	}
	r, err := settled(t, before, Options{Version: "v0.2.0", Upgrade: true})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"operator": "registry.example.com/fleet/fleet-operator:v0.2.0", "callout": "registry.example.com/fleet/fleet-callout:v0.2.0",
		"fleetctl": "registry.example.com/fleet/fleetctl:v0.2.0", "nats": "nats:2",
	}
	if d := cmp.Diff(want, imagesOf(r)); d != "" {
		t.Error(d)
	}
	if r.Profile != "lab" || r.Values["openshift"] != true {
		t.Errorf("profile %q, values %v: what was set stays set", r.Profile, r.Values)
	}
	if record := r.record(Installing); record.Before != "v0.1.0" || record.ImagesFrom != "registry.example.com/fleet" {
		t.Errorf("record: %+v", record)
	}
}

func TestImagesThatWereNamedForAnotherVersionAreRefused(t *testing.T) {
	t.Parallel()
	before := &Record{State: Installed, Version: "v0.1.0", Values: chart.Values{"images": chart.Values{"operator": "localhost/op:1", "nats": "nats:2"}}}
	_, err := settled(t, before, Options{Version: "v0.2.0", Upgrade: true})
	var wrong *VersionError
	if !errors.As(err, &wrong) || !strings.Contains(wrong.Sentence, "images.operator is localhost/op:1, which was given for version v0.1.0") {
		t.Fatalf("got %v", err)
	}
	r, err := settled(t, before, Options{Version: "v0.2.0", Upgrade: true, Values: chart.Values{"images": chart.Values{"operator": "localhost/op:2"}}})
	if err != nil || imagesOf(r)["operator"] != "localhost/op:2" || imagesOf(r)["nats"] != "nats:2" {
		t.Errorf("given again: %v, %v", imagesOf(r), err)
	}
	if r, err = settled(t, before, Options{Version: "v0.1.0"}); err != nil || imagesOf(r)["operator"] != "localhost/op:1" {
		t.Errorf("the same version again: %v, %v", imagesOf(r), err)
	}
	if r, err = settled(t, before, Options{Version: "v0.2.0", Upgrade: true, ImagesFrom: "r.example.com/f"}); err != nil || imagesOf(r)["operator"] != "r.example.com/f/fleet-operator:v0.2.0" {
		t.Errorf("from a registry now: %v, %v", imagesOf(r), err)
	}
}

func TestWhichVersionMayFollow(t *testing.T) {
	t.Parallel()
	cutOff := &Record{State: Installing, Version: "v0.2.0", Before: "v0.1.0"}
	for name, tt := range map[string]struct {
		before  *Record
		version string
		upgrade bool
		refused string
	}{
		"nothing to upgrade":                        {nil, "v0.1.0", true, "no fleet is installed"},
		"the first":                                 {nil, "v0.1.0", false, ""},
		"install over another version":              {&Record{State: Installed, Version: "v0.1.0"}, "v0.2.0", false, "version v0.1.0 is installed"},
		"an upgrade":                                {&Record{State: Installed, Version: "v0.1.0"}, "v0.2.0", true, ""},
		"an upgrade that was cut off, again":        {cutOff, "v0.2.0", true, ""},
		"back from an upgrade that was cut off":     {cutOff, "v0.1.0", false, ""},
		"on from an upgrade that was cut off":       {cutOff, "v0.3.0", true, "v0.1.0 is installed"},
		"not back from an upgrade that has ended":   {&Record{State: Installed, Version: "v0.2.0", Before: "v0.1.0"}, "v0.1.0", false, "version v0.2.0 is installed"},
		"over the data of a fleet that was removed": {&Record{State: Removed, Version: "v0.1.0"}, "v0.2.0", false, ""},
		"over data that is newer":                   {&Record{State: Removed, Version: "v0.3.0"}, "v0.2.0", false, "older"},
		"an upgrade of what was removed":            {&Record{State: Removed, Version: "v0.1.0"}, "v0.2.0", true, "no fleet is installed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := settled(t, tt.before, Options{Version: tt.version, Upgrade: tt.upgrade})
			if tt.refused == "" && err != nil || tt.refused != "" && (err == nil || !strings.Contains(err.Error(), tt.refused)) {
				t.Errorf("got %v, want %q", err, tt.refused)
			}
		})
	}
}

// Where an upgrade was cut off, the version before it stays the one to go back to.
func TestACutOffUpgradeRemembersWhereItCameFrom(t *testing.T) {
	t.Parallel()
	r, err := settled(t, &Record{State: Installing, Version: "v0.2.0", Before: "v0.1.0"}, Options{Version: "v0.2.1", Upgrade: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.record(Installing).Before; got != "v0.1.0" {
		t.Errorf("before it was %s", got)
	}
	if r.result.Former != "v0.1.0" {
		t.Errorf("the version to go back to is %q", r.result.Former)
	}
}

func TestAFleetThatWasRemovedGoesOnWithItsValues(t *testing.T) {
	t.Parallel()
	r, err := settled(t, &Record{State: Removed, Version: "v0.1.0", Profile: "lab", Values: chart.Values{"openshift": true}}, Options{Version: "v0.1.0"})
	if err != nil || r.Profile != "lab" || r.Values["openshift"] != true {
		t.Errorf("profile %q, values %v, %v", r.Profile, r.Values, err)
	}
}

// What is not given of the provider stays as it is installed.
func TestAProviderWithoutItsAuthorityKeepsTheOneThatIsThere(t *testing.T) {
	t.Parallel()
	before := &Record{State: Installed, Version: "v0.1.0", Values: chart.Values{"callout": chart.Values{"issuerCA": true, "issuer": "https://old.example.com"}}}
	r, err := settled(t, before, Options{Version: "v0.1.0", Provider: &Provider{Issuer: "https://new.example.com", Key: []byte("{}")}})
	if err != nil {
		t.Fatal(err)
	}
	callout, _ := r.Values["callout"].(chart.Values)
	if callout["issuerCA"] != true || callout["introspection"] != true || callout["issuer"] != "https://new.example.com" {
		t.Errorf("got %v", callout)
	}
}
