package provider

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fleet.nationtech.io/deploy/install/apply"
)

// RecordName is the ConfigMap that says what is installed.
const RecordName = "fleet-zitadel"

// Record is what is known of an installation.
type Record struct {
	Installed bool // all steps but those at the provider were done once
	Version   string
	Issuer    string
	Born      time.Time // when it was first asked for
	// Ready says that what the fleet needs was made at the provider.
	Ready bool

	// KeyAwaited says that the setup was started while there was no Secret SetupAccount:
	// the key that is there afterwards is the setup's.
	KeyAwaited bool
	// SetupKey is the id of the key that the setup made; empty: it made none. Any other
	// key in the Secret is a person's.
	SetupKey string
}

func (r *run) wantedRecord() Record {
	record := Record{Version: r.chart.Metadata.Version, Issuer: r.Wanted.Issuer, Born: r.Now().UTC().Truncate(time.Second)}
	if b := r.before; b != nil {
		record.Installed, record.Ready, record.Born = b.Installed, b.Ready, b.Born
		record.KeyAwaited, record.SetupKey = b.KeyAwaited, b.SetupKey
	}
	return record
}

func (r Record) object(namespace string) *unstructured.Unstructured {
	o := object("v1", "ConfigMap", namespace, RecordName)
	o.SetLabels(map[string]string{"app.kubernetes.io/managed-by": apply.FieldManager})
	o.Object["data"] = map[string]any{
		"installed": fmt.Sprint(r.Installed), "ready": fmt.Sprint(r.Ready), "version": r.Version, "issuer": r.Issuer, "born": r.Born.Format(time.RFC3339),
		"keyAwaited": fmt.Sprint(r.KeyAwaited), "setupKey": r.SetupKey,
	}
	return o
}

func parseRecord(o *unstructured.Unstructured) (Record, error) {
	data, _, err := unstructured.NestedStringMap(o.Object, "data")
	if err != nil {
		return Record{}, fmt.Errorf("%s: %w", apply.Name(o), err)
	}
	r := Record{
		Installed: data["installed"] == "true", Ready: data["ready"] == "true", Version: data["version"], Issuer: data["issuer"],
		KeyAwaited: data["keyAwaited"] == "true", SetupKey: data["setupKey"],
	}
	if r.Born, err = time.Parse(time.RFC3339, cmp.Or(data["born"], time.Time{}.Format(time.RFC3339))); err != nil {
		return r, fmt.Errorf("%s, born: %w", apply.Name(o), err)
	}
	return r, nil
}

// remember writes the record before what it is about is made.
func (r *run) remember(ctx context.Context) error {
	_, err := r.applier.Apply(ctx, r.record.object(r.Namespace))
	return err
}
