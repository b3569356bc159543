package manifests_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/crds/v1alpha1"
)

// stamped says what the policies of four eyes left.
func stamped(d *unstructured.Unstructured) [2]string {
	a := d.GetAnnotations()
	return [2]string{a[v1alpha1.AnnotationAuthoredBy], a[v1alpha1.AnnotationPromotedBy]}
}

// Who last changed the score or the rollout, and who promoted a batch, is the API
// server's word; a promotion needs the verb promote.
func TestWhoWroteAndWhoPromotedIsStampedAndCannotBeForged(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	await := func() { // the policies come into force one by one
		deadline := time.Now().Add(time.Minute)
		for {
			d := o.create("alice", map[string]string{v1alpha1.AnnotationPromote: "1.1.1"})
			if err := o.client("alice").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			if stamped(d) == [2]string{"alice", "alice"} {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the policies are not in force: %v", d.GetAnnotations())
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	await()
	forge := func(author, promoter string) string {
		return `{"metadata":{"annotations":{"` + v1alpha1.AnnotationAuthoredBy + `":"` + author + `","` + v1alpha1.AnnotationPromotedBy + `":"` + promoter + `"}}}`
	}
	promote := func(value string) string {
		return `{"metadata":{"annotations":{"` + v1alpha1.AnnotationPromote + `":` + value + `}}}`
	}
	if got := stamped(o.create("alice", map[string]string{v1alpha1.AnnotationAuthoredBy: "mallory", v1alpha1.AnnotationPromotedBy: "mallory"})); got != [2]string{"alice", ""} {
		t.Errorf("alice creates: %v", got)
	}
	for _, step := range []struct {
		did, by, merge string
		dryRun         bool
		want           [2]string
	}{
		{did: "bob changes the selector", by: "bob", merge: spec2, want: [2]string{"alice", ""}},
		{did: "bob forges", by: "bob", merge: forge("mallory", "mallory"), want: [2]string{"alice", ""}},
		{did: "bob promotes in a dry run", by: "bob", merge: promote(`"1.7.1"`), dryRun: true, want: [2]string{"alice", ""}},
		{did: "bob promotes", by: "bob", merge: promote(`"1.7.1"`), want: [2]string{"alice", "bob"}},
		{did: "alice says the same again", by: "alice", merge: promote(`"1.7.1"`), want: [2]string{"alice", "bob"}},
		{did: "alice forges the promoter", by: "alice", merge: forge("bob", "carol"), want: [2]string{"alice", "bob"}},
		{did: "alice promotes another batch", by: "alice", merge: promote(`"1.7.2"`), want: [2]string{"alice", "alice"}},
		{did: "carol changes the rollout", by: "carol", merge: `{"spec":{"rollout":{"paused":true}}}`, want: [2]string{"carol", "alice"}},
		{did: "dave changes the score in a dry run", by: "dave", merge: `{"spec":{"score":{"data":{"mesh":{"on":true}}}}}`, dryRun: true, want: [2]string{"carol", "alice"}},
		{did: "dave changes the score", by: "dave", merge: `{"spec":{"score":{"data":{"mesh":{"on":true}}}}}`, want: [2]string{"dave", "alice"}},
		{did: "bob takes the promotion away", by: "bob", merge: promote("null"), want: [2]string{"dave", ""}},
		{did: "bob removes all annotations", by: "bob", merge: `{"metadata":{"annotations":null}}`, want: [2]string{"dave", ""}},
	} {
		var dryRun []string
		if step.dryRun {
			dryRun = []string{metav1.DryRunAll}
		}
		if got := stamped(o.patch(step.by, step.merge, dryRun...)); got != step.want {
			t.Errorf("%s: written by and promoted by %v, want %v", step.did, got, step.want)
		}
	}
	o.rolePatch("erin")
	erin := rest.CopyConfig(o.api.Config)
	erin.Impersonate = rest.ImpersonationConfig{UserName: "erin"}
	client := dynamic.NewForConfigOrDie(erin).Resource(v1alpha1.SchemeGroupVersion.WithResource("deployments")).Namespace(o.namespace)
	poll := func(what string, against func() error) { // a role, and a policy, is in force a little after it came
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			if err := against(); err == nil {
				return
			} else if time.Now().After(deadline) {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	poll("erin may change the Deployment", func() error {
		_, err := client.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{})
		return err
	})
	poll("erin may not promote", func() error {
		_, err := client.Patch(t.Context(), "web", types.MergePatchType, []byte(promote(`"1.7.1"`)), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			return errors.New("it is not refused")
		}
		return nil
	})
	_, err := client.Patch(t.Context(), "web", types.MergePatchType, []byte(promote(`"1.7.1"`)), metav1.PatchOptions{})
	if err == nil || !strings.Contains(err.Error(), "user erin may not let the rollout of Deployment web go on") {
		t.Errorf("erin promotes without the verb: %v", err)
	}
}

// rolePatch lets a person change Deployments, and no more.
func (o office) rolePatch(person string) {
	o.Helper()
	core, err := kubernetes.NewForConfig(o.api.Config)
	if err != nil {
		o.Fatal(err)
	}
	_, err = core.RbacV1().Roles(o.namespace).Create(o.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "changes"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"deployments"}, Verbs: []string{"get", "patch", "update"}}},
	}, metav1.CreateOptions{})
	if err == nil {
		_, err = core.RbacV1().RoleBindings(o.namespace).Create(o.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "changes"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "changes"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: person}},
		}, metav1.CreateOptions{})
	}
	if err != nil {
		o.Fatal(err)
	}
}
