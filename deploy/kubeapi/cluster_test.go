package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestReadyClusterBehavesAsAnyOther is about one server; its parts share it.
func TestReadyClusterBehavesAsAnyOther(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, playKubeapi, "--data-dir", dir, "--no-fsync")
	client := newClient(t, dir)

	// What ready means is asked first and without a retry.
	for name, path := range map[string]string{
		"says ready itself":     "/readyz",
		"serves CRDs":           crdPath,
		"has kube-system":       "/api/v1/namespaces/kube-system",
		"has default":           "/api/v1/namespaces/default",
		"serves leases":         "/apis/coordination.k8s.io/v1/leases",
		"has a cluster's roles": "/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin",
	} {
		if err := get(t.Context(), client, path); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "kubeconfig")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the kubeconfig: %v, %v; want 0600", info, err)
	}
	if got := clientConfig(t, dir).Host; got != p.url {
		t.Errorf("the kubeconfig says %s, stdout says %s", got, p.url)
	}
	t.Cleanup(func() {
		for _, line := range noise(p) {
			// The stranger below is news.
			if !strings.Contains(line, "invalid bearer token") {
				t.Errorf("it is not quiet: %s", line)
			}
		}
	})

	t.Run("the kubeconfig's user is in system:masters", func(t *testing.T) {
		t.Parallel()
		review, err := client.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(review.Status.UserInfo.Groups, " "); !strings.Contains(got, adminGroup) {
			t.Errorf("groups %s", got)
		}
	})
	t.Run("a stranger is refused", func(t *testing.T) {
		t.Parallel()
		config := rest.AnonymousClientConfig(clientConfig(t, dir))
		err := get(t.Context(), kubernetes.NewForConfigOrDie(config), "/api/v1/namespaces")
		if !apierrors.IsForbidden(err) {
			t.Errorf("anonymous: %v, want forbidden", err)
		}
		config.BearerToken = "guessed"
		if err := get(t.Context(), kubernetes.NewForConfigOrDie(config), "/api/v1/namespaces"); !apierrors.IsUnauthorized(err) {
			t.Errorf("wrong token: %v, want unauthorized", err)
		}
	})
	t.Run("a CRD is established at once", func(t *testing.T) { t.Parallel(); establishCRD(t, clientConfig(t, dir)) })
	t.Run("a namespace gets its service account, and goes when deleted", func(t *testing.T) { t.Parallel(); deleteNamespace(t, client) })
	t.Run("a dependent is collected with its owner", func(t *testing.T) { t.Parallel(); collectDependent(t, client) })
	t.Run("a service account's token and role work", func(t *testing.T) {
		t.Parallel()
		useServiceAccount(t, client, clientConfig(t, dir))
	})
}

func establishCRD(t *testing.T, config *rest.Config) {
	client := apiextensions.NewForConfigOrDie(config).ApiextensionsV1().CustomResourceDefinitions()
	crd := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "things.example.org"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "example.org",
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "things", Singular: "thing", Kind: "Thing"},
			Scope: apiextensionsv1.NamespaceScoped,
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object"}},
			}},
		},
	}
	began := time.Now()
	if _, err := client.Create(t.Context(), crd, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the CRD is established", func(ctx context.Context) bool {
		got, err := client.Get(ctx, crd.Name, metav1.GetOptions{})
		if err != nil {
			return false
		}
		for _, condition := range got.Status.Conditions {
			if condition.Type == apiextensionsv1.Established && condition.Status == apiextensionsv1.ConditionTrue {
				return true
			}
		}
		return false
	})
	t.Logf("established in %s", time.Since(began))
}

func deleteNamespace(t *testing.T, client *kubernetes.Clientset) {
	const name = "passing"
	namespaces := client.CoreV1().Namespaces()
	if _, err := namespaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the default service account", func(ctx context.Context) bool {
		_, err := client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	})
	if _, err := client.CoreV1().Secrets(name).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := namespaces.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the namespace is gone", func(ctx context.Context) bool {
		_, err := namespaces.Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	t.Logf("gone in %s", time.Since(began))
}

func collectDependent(t *testing.T, client *kubernetes.Clientset) {
	maps := client.CoreV1().ConfigMaps("default")
	owner, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dependent := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "dependent", OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID},
	}}}
	if _, err := maps.Create(t.Context(), dependent, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := maps.Delete(t.Context(), owner.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the dependent is collected", func(ctx context.Context) bool {
		_, err := maps.Get(ctx, dependent.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

func useServiceAccount(t *testing.T, client *kubernetes.Clientset, config *rest.Config) {
	const name = "holder"
	if _, err := client.CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	request, err := client.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config = rest.AnonymousClientConfig(config)
	config.BearerToken = request.Status.Token
	leases := kubernetes.NewForConfigOrDie(config).CoordinationV1().Leases("default")
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "leader"}}
	if _, err := leases.Create(t.Context(), lease, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Fatalf("without a role: %v, want forbidden", err)
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create"}},
	}}
	if _, err := client.RbacV1().Roles("default").Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: name, Namespace: "default"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
	}
	if _, err := client.RbacV1().RoleBindings("default").Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the role lets the account in", func(ctx context.Context) bool {
		_, err := leases.Create(ctx, lease, metav1.CreateOptions{})
		return err == nil
	})
}

// readLine returns the first line of a process's output.
func readLine(t *testing.T, output io.Reader) string {
	t.Helper()
	var line strings.Builder
	for buffer := make([]byte, 1); ; {
		if _, err := output.Read(buffer); err != nil {
			t.Fatalf("no line after %q: %v", line.String(), err)
		}
		if buffer[0] == '\n' {
			return line.String()
		}
		line.Write(buffer)
	}
}
