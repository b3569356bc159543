package provider_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// The API of the tests has the kinds of a control plane alone. Jobs and Deployments are
// defined there by CRDs, whose groups must have a dot: groups are renamed on the way.
var renamed = map[string]string{"batch": "batch.fleet.test", "apps": "apps.fleet.test"}

// served has the shared API serve Jobs and Deployments, once.
var served sync.Once

func serveKinds(t *testing.T, config *rest.Config) {
	t.Helper()
	client, err := clientset.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []struct{ group, kind, plural string }{{"batch", "Job", "jobs"}, {"apps", "Deployment", "deployments"}} {
		anything := true
		definition := &apiextensionsv1.CustomResourceDefinition{
			ObjectMeta: metav1.ObjectMeta{Name: kind.plural + "." + renamed[kind.group]},
			Spec: apiextensionsv1.CustomResourceDefinitionSpec{
				Group: renamed[kind.group], Scope: apiextensionsv1.NamespaceScoped,
				Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: kind.plural, Kind: kind.kind},
				Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
					Name: "v1", Served: true, Storage: true,
					Schema:       &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &anything}},
					Subresources: &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}},
				}},
			},
		}
		if _, err := client.ApiextensionsV1().CustomResourceDefinitions().Create(t.Context(), definition, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// kinds is put before the way to the API. It renames groups, and answers for what is
// only read and cannot be defined: pods and Services are of the core group.
type kinds struct {
	mu    sync.Mutex
	there map[string]any // by path
}

func (k *kinds) put(path string, o any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.there[path] = o
}

func (k *kinds) before(next http.RoundTripper) http.RoundTripper {
	return transport(func(r *http.Request) (*http.Response, error) {
		if o, found := k.find(r); found {
			text, err := json.Marshal(o)
			if err != nil {
				return nil, err
			}
			return &http.Response{
				StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
				Header: http.Header{"Content-Type": []string{"application/json"}}, Body: io.NopCloser(bytes.NewReader(text)),
			}, nil
		}
		return throughGroups(next, r)
	})
}

func (k *kinds) find(r *http.Request) (any, bool) {
	if r.Method != http.MethodGet {
		return nil, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if o, found := k.there[r.URL.Path]; found {
		return o, true
	}
	for _, empty := range []string{"/pods", "/persistentvolumeclaims", "/replicasets", "/endpointslices"} {
		if strings.HasSuffix(r.URL.Path, empty) {
			return &metav1.List{}, true
		}
	}
	return nil, false
}

func throughGroups(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	for group, as := range renamed {
		r.URL.Path = strings.Replace(r.URL.Path, "/apis/"+group+"/", "/apis/"+as+"/", 1)
		body = bytes.ReplaceAll(body, []byte(`"apiVersion":"`+group+`/v1"`), []byte(`"apiVersion":"`+as+`/v1"`))
	}
	if r.Body != nil {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	answer, err := next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return nil, err
	}
	for group, as := range renamed {
		text = bytes.ReplaceAll(text, []byte(as), []byte(group))
	}
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	answer.Header.Del("Content-Length")
	return answer, nil
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
