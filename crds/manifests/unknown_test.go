package manifests_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/crds/v1alpha1"
)

// warnings collects what the API server warns of.
type warnings struct {
	mu   sync.Mutex
	said []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

func (w *warnings) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	said := strings.Join(w.said, "\n")
	w.said = nil
	return said
}

// kubectl prints such warnings. The object is taken all the same.
func TestAMisspeltFieldIsWarnedOfAtApply(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	var heard warnings
	config := rest.CopyConfig(o.api.Config)
	config.WarningHandler = &heard
	client := dynamic.NewForConfigOrDie(config).Resource(v1alpha1.SchemeGroupVersion.WithResource("deployments")).Namespace(o.namespace)
	apply := func(name, score string) string {
		t.Helper()
		if _, err := client.Create(t.Context(), asked{name: name, score: score}.object(t), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
			t.Fatal(err)
		}
		return heard.take()
	}
	misspelt := scoreOf("{name: a, image: x}", "{name: web, image: nginx, enviroment: {A: b}, port: [], healthCheck: {exec: [x], http2: 1}, resources: {gpus: 1}}")
	for end := time.Now().Add(time.Minute); apply("probe", misspelt) == "" && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond) // until the policy is in force
	}
	for name, tt := range map[string]struct{ score, says string }{
		"a long name for a short one": {misspelt, "spec.score.data.services[1].enviroment is not known to this version; did you mean env?"},
		"a letter missing":            {misspelt, "spec.score.data.services[1].port is not known to this version; did you mean ports?"},
		"below another field":         {misspelt, "spec.score.data.services[1].healthCheck.http2 is not known to this version; did you mean http?"},
		"nothing like it":             {misspelt, "spec.score.data.services[1].resources.gpus is not known to this version"},
		"beside the services":         {"{type: PodmanV0, data: {mesh: 1, services: [{name: a, image: x}]}}", "spec.score.data.mesh is not known to this version"},
		"every field is known":        {scoreOf("{name: a, image: x, env: {ANY: x}, healthCheck: {http: {port: 80}}}"), ""},
		"a score of another type":     {"{type: WasmV9, data: {modules: []}}", ""},
	} {
		// Not in parallel: what is heard is of one call.
		if said := apply("web", tt.score); !strings.Contains(said, tt.says) || (said == "") != (tt.says == "") {
			t.Errorf("%s: the API server warns %q, want %q", name, said, tt.says)
		}
	}
}
