package kube

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
)

// FieldManager is the operator's name in managedFields.
const FieldManager = v1alpha1.FieldManagerOperator

// annotationRestoring marks a Device that is being made again from the log: the
// labels that persons had set, each with its owner. While it is there, those
// owners hold, though the operator wrote the labels; see Devices.restore.
const annotationRestoring = "fleet.nationtech.io/restoring-labels"

// What the schema of a Device's status takes.
const (
	maxLabels      = 128
	maxReportedLen = 4096
	maxLabelKeyLen = 317
	maxManagerLen  = 128
	maxKeptLen     = 63
)

// take sorts a device's reported labels into those that the operator applies and
// those that it refuses: keys and values that are none, and keys that are never
// taken from a device.
func take(device string, reported map[string]string, source LabelSource) (taken map[string]string, refused []v1alpha1.LabelConflict) {
	taken = map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(reported)) {
		v := reported[k]
		switch {
		case k == v1alpha1.LabelDevice && v == device:
		case source == LabelsRegistered && valid(k, v):
		case k == v1alpha1.LabelDevice || !valid(k, v) || strings.HasPrefix(k, v1alpha1.RestrictedLabelPrefix) || len(taken) == maxLabels-1:
			refused = append(refused, v1alpha1.LabelConflict{Key: k, Reported: v, Manager: FieldManager})
		default:
			taken[k] = v
		}
	}
	taken[v1alpha1.LabelDevice] = device
	return taken, refused
}

func valid(key, value string) bool {
	return len(validation.IsQualifiedName(key)) == 0 && len(validation.IsValidLabelValue(value)) == 0
}

// owners gives, for each label, the field managers that own it: sorted, persons
// before the operator.
func owners(entries []metav1.ManagedFieldsEntry) (map[string][]string, error) {
	byLabel := map[string][]string{}
	for _, e := range entries {
		if e.FieldsV1 == nil || e.Subresource != "" {
			continue
		}
		keys, err := labelsIn(e.FieldsV1)
		if err != nil {
			return nil, fmt.Errorf("managedFields of %q: %w", e.Manager, err)
		}
		for _, k := range keys {
			if !slices.Contains(byLabel[k], e.Manager) {
				byLabel[k] = append(byLabel[k], e.Manager)
			}
		}
	}
	for _, ms := range byLabel {
		slices.SortFunc(ms, func(a, b string) int {
			if (a == FieldManager) != (b == FieldManager) {
				if a == FieldManager {
					return 1
				}
				return -1
			}
			return strings.Compare(a, b)
		})
	}
	return byLabel, nil
}

// labelsIn lists the label keys of a field set.
func labelsIn(f *metav1.FieldsV1) ([]string, error) {
	var set struct {
		Metadata struct {
			Labels map[string]json.RawMessage `json:"f:labels"`
		} `json:"f:metadata"`
	}
	if err := json.Unmarshal(f.GetRawBytes(), &set); err != nil {
		return nil, err
	}
	var keys []string
	for f := range set.Metadata.Labels {
		if k, ok := strings.CutPrefix(f, "f:"); ok {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// Effective gives a Device's labels, all of which select, each with who set it:
// eventlog.OwnerDevice for what the agent reports, else the field manager.
func Effective(dev *v1alpha1.Device) (map[string]eventlog.OwnedLabel, error) {
	by, err := owners(dev.ManagedFields)
	if err != nil {
		return nil, fmt.Errorf("Device %s: %w", dev.Name, err)
	}
	restoring, err := restoringOf(dev)
	if err != nil {
		return nil, err
	}
	owned := make(map[string]eventlog.OwnedLabel, len(dev.Labels))
	for k, v := range dev.Labels {
		owner := FieldManager
		switch ms := by[k]; {
		case len(ms) > 0 && ms[0] != FieldManager:
			owner = ms[0]
		case restoring[k] != "":
			owner = restoring[k]
		case len(ms) > 0 && k != v1alpha1.LabelDevice:
			owner = eventlog.OwnerDevice
		}
		owned[k] = eventlog.OwnedLabel{Value: v, Owner: owner}
	}
	return owned, nil
}

func restoringOf(dev *v1alpha1.Device) (map[string]string, error) {
	s := dev.Annotations[annotationRestoring]
	if s == "" {
		return nil, nil
	}
	var by map[string]string
	if err := json.Unmarshal([]byte(s), &by); err != nil {
		return nil, fmt.Errorf("Device %s: annotation %s: %w", dev.Name, annotationRestoring, err)
	}
	return by, nil
}

// reconcile says which of the labels that the operator would apply it can: a key
// that a person holds with another value is left out and named.
func reconcile(dev *v1alpha1.Device, by map[string][]string, want map[string]string) (apply map[string]string, conflicts []v1alpha1.LabelConflict) {
	apply = maps.Clone(want)
	for k, v := range want {
		kept, there := dev.Labels[k]
		holders := by[k]
		if k == v1alpha1.LabelDevice || !there || kept == v || len(holders) == 0 || holders[0] == FieldManager {
			continue
		}
		delete(apply, k)
		conflicts = append(conflicts, v1alpha1.LabelConflict{Key: k, Reported: v, Kept: kept, Manager: holders[0]})
	}
	return apply, conflicts
}

// fit makes a list of conflicts one that the schema takes: sorted and clipped.
func fit(cs []v1alpha1.LabelConflict) []v1alpha1.LabelConflict {
	out := make([]v1alpha1.LabelConflict, 0, len(cs))
	for _, c := range cs {
		if len(c.Key) > maxLabelKeyLen {
			continue // it would not be that key any more; the reported labels show its beginning
		}
		c.Reported = clip(c.Reported, maxReportedLen)
		c.Kept, c.Manager = clip(c.Kept, maxKeptLen), clip(c.Manager, maxManagerLen)
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b v1alpha1.LabelConflict) int { return strings.Compare(a.Key, b.Key) })
	return out[:min(len(out), maxLabels)]
}

// Reported is what the status shows of what the agent reports. Of a key that is
// none it shows no more than the longest has: YAML, as which the API server reads
// what is applied, takes none of more than 1024 bytes.
func Reported(reported map[string]string) map[string]string {
	m := make(map[string]string, min(len(reported), maxLabels))
	for _, k := range slices.Sorted(maps.Keys(reported))[:min(len(reported), maxLabels)] {
		m[clip(k, maxLabelKeyLen)] = clip(reported[k], maxReportedLen)
	}
	return m
}

// clip keeps a device's words within what the schema takes.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && s[cut]&0xC0 == 0x80 { // not in the middle of a rune
		cut--
	}
	return s[:cut]
}
