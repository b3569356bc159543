package decide

import (
	"encoding/json"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
)

// ActorUnknown is the actor of an event of which nothing tells who caused it.
const ActorUnknown = eventlog.RequestedByUnknown

// requester says who last changed a CR's spec: the user that the API server's
// policy stamped, else the field manager.
//
// The stamp is believed as it stands. It cannot be forged while the policy is in
// force, and the CR does not show whether it was; docs/audit.md says so.
func requester(d *v1alpha1.Deployment) eventlog.Requester {
	if user := d.Annotations[v1alpha1.AnnotationRequestedBy]; user != "" {
		return eventlog.Requester{Name: clip(user, maxRequester), By: eventlog.RequestedByAdmission}
	}
	return lastManager(d.ManagedFields, fieldsOf.spec)
}

// lastManager is the field manager that was the last to set something among the
// fields that own picks out.
func lastManager(entries []metav1.ManagedFieldsEntry, own func(fieldsOf) bool) eventlog.Requester {
	var last *metav1.ManagedFieldsEntry
	for i := range entries {
		e := &entries[i]
		if e.Subresource != "" || e.Manager == "" || !own(fields(e)) {
			continue
		}
		// A time is in whole seconds. Which of two in one second was the last nobody
		// can tell; the later entry counts.
		if last == nil || e.Time != nil && (last.Time == nil || !e.Time.Before(last.Time)) {
			last = e
		}
	}
	if last == nil {
		return eventlog.Requester{By: eventlog.RequestedByUnknown}
	}
	return eventlog.Requester{Name: clip(last.Manager, maxRequester), By: eventlog.RequestedByFieldManager}
}

// fieldsOf is what a managedFields entry owns of all that is asked here.
type fieldsOf struct {
	Spec     json.RawMessage `json:"f:spec"`
	Metadata struct {
		Annotations map[string]json.RawMessage `json:"f:annotations"`
	} `json:"f:metadata"`
}

func (f fieldsOf) spec() bool { return len(f.Spec) > 0 }

func (f fieldsOf) changeCause() bool {
	_, ok := f.Metadata.Annotations["f:"+AnnotationChangeCause]
	return ok
}

// fields reads an entry. One that cannot be read owns nothing: the API server
// wrote it, so it is none of a person's mistakes, and the name is then unknown.
func fields(e *metav1.ManagedFieldsEntry) fieldsOf {
	var f fieldsOf
	if e.FieldsV1 == nil || json.Unmarshal(e.FieldsV1.GetRawBytes(), &f) != nil {
		return fieldsOf{}
	}
	return f
}

// TrimManagedFields reduces a CR's managedFields to what SpecOf reads of them, so that a cache
// of CRs need not hold the rest, which is half of a CR. Doing it again changes
// nothing.
func TrimManagedFields(entries []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	var kept []metav1.ManagedFieldsEntry
	for i := range entries {
		e := entries[i]
		if e.Subresource != "" {
			continue
		}
		f := fields(&e)
		var own []string
		if f.changeCause() {
			own = append(own, `"f:metadata":{"f:annotations":{"f:`+AnnotationChangeCause+`":{}}}`)
		}
		if f.spec() {
			own = append(own, `"f:spec":{}`)
		}
		if len(own) == 0 {
			continue
		}
		e.FieldsV1 = &metav1.FieldsV1{}
		e.FieldsV1.SetRawBytes([]byte("{" + strings.Join(own, ",") + "}"))
		kept = append(kept, e)
	}
	return slices.Clip(kept)
}

// actor is a requester as the envelope names it.
func actor(r eventlog.Requester) string {
	if r.Name == "" {
		return ActorUnknown
	}
	return r.Name
}
