// Package provider installs Zitadel, the fleet's identity provider, from its own chart,
// and makes there what a fleet needs.
package provider

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"helm.sh/helm/v3/pkg/chart"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/cluster"
	"fleet.nationtech.io/deploy/zitadel/setup"
	"fleet.nationtech.io/eventlog/phrase"
)

// Namespace is where Zitadel goes, unless a person says another: a namespace of its own,
// since its setup may read and write all Secrets around it.
const Namespace = "fleet-zitadel"

// Options say what is installed, and where.
type Options struct {
	Config    *rest.Config
	Namespace string
	Chart     string // file or folder of Zitadel's chart
	Wanted    Wanted

	// Setup is what is made at the provider, and Keys the directory of its keys.
	Setup setup.Wanted
	Keys  string
	// CAFile has the authority that signed the provider's certificate, in PEM; empty: a
	// public one.
	CAFile string
	// KeepKey leaves the key of the first account at the provider and in its Secret.
	KeepKey bool

	DryRun, Force bool
	// Timeout is how long each part may take to be ready.
	Timeout time.Duration
	// Settle is how long the provider may not know a key that it has just made; 0: a minute.
	Settle time.Duration
	Now    func() time.Time
	// Found is told what preflight found, before anything is changed.
	Found func([]cluster.Finding)
	// Tell is told what happens, in order.
	Tell func(Progress)
}

// Progress is something that happened.
type Progress struct {
	Step     string
	Sentence string
	Waiting  bool // it still goes on
}

// Result is what was found and done.
type Result struct {
	Issuer   string            `json:"issuer"`
	Findings []cluster.Finding `json:"findings"`
	Changed  int               `json:"changed"` // objects that are not as they were
	// Made is what is at the provider now; nil: an earlier run made it, or this one makes nothing.
	Made *setup.Outcome `json:"made,omitempty"`
	// FirstPassword says that the first person got the password in Secret ConfigSecret.
	FirstPassword bool `json:"first_password"`
}

// RefusedError says that preflight found what must be mended first.
type RefusedError struct{ Findings []cluster.Finding }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("Zitadel cannot be installed: %s", phrase.Number(len(e.Findings), "thing must be mended first", "things must be mended first"))
}

// FailedError is what went wrong, and what to do about it.
type FailedError struct {
	Err    error
	Remedy string
}

func (e *FailedError) Error() string { return e.Err.Error() }

func (e *FailedError) Unwrap() error { return e.Err }

// run is one installation under way.
type run struct {
	Options
	applier  *apply.Applier
	client   kubernetes.Interface
	chart    *chart.Chart
	facts    cluster.Facts
	before   *Record // nil: nothing was installed
	record   Record
	database database
	release  release
	result   Result
}

// Install installs Zitadel, or brings an installed one to what is wished. Each step may
// be done again: a run that was cut off goes on where it stopped.
//
// Errors: *RefusedError, with nothing changed; *apply.Conflict; *FailedError and
// *health.NotReady; what the chart, the API server or the provider refuses.
func Install(ctx context.Context, o Options) (Result, error) {
	o.Settle = cmp.Or(o.Settle, settle)
	r := &run{Options: o, result: Result{Issuer: o.Wanted.Issuer}}
	if err := r.begin(); err != nil {
		return r.result, err
	}
	for _, step := range []func(context.Context) error{
		r.look, r.preflight, r.namespace, r.remember, r.secrets, r.hooks, r.objects, r.wait, r.provision, r.forget, r.password,
	} {
		if err := step(ctx); err != nil {
			return r.result, err
		}
	}
	return r.result, nil
}

func (r *run) begin() error {
	if err := r.Wanted.Check(); err != nil {
		return err
	}
	if err := r.Setup.Check(); err != nil {
		return err
	}
	_, err := trust.Beside(&trust.Clock{}, r.CAFile)
	if err != nil {
		return err
	}
	if r.chart, err = load(r.Chart); err != nil {
		return err
	}
	if r.applier, err = apply.New(r.Config); err != nil {
		return err
	}
	r.applier.DryRun, r.applier.Force = r.DryRun, r.Force
	if r.client, err = kubernetes.NewForConfig(r.Config); err != nil {
		return fmt.Errorf("client of the Kubernetes API: %w", err)
	}
	return nil
}

func (r *run) say(step, format string, args ...any) {
	r.Tell(Progress{Step: step, Sentence: fmt.Sprintf(format, args...)})
}

// look finds out what the cluster is, and what is installed in it.
func (r *run) look(ctx context.Context) error {
	var err error
	if r.facts, err = cluster.Look(ctx, r.Config, r.Namespace, r.Now); err != nil {
		return err
	}
	there, err := r.applier.Get(ctx, object("v1", "ConfigMap", r.Namespace, RecordName))
	if err != nil && !apierrors.IsForbidden(err) { // preflight says which rights are missing
		return err
	}
	if err == nil && there != nil {
		record, err := parseRecord(there)
		if err != nil {
			return err
		}
		r.before = &record
	}
	r.record = r.wantedRecord()
	return nil
}

// namespace makes the namespace, and has it enforce Pod Security. One that was there is
// left as it is, unless it has no level.
func (r *run) namespace(ctx context.Context) error {
	there := r.facts.Namespace
	if there.Exists && there.Enforce != "" && there.Manager != apply.FieldManager {
		return nil
	}
	ns := object("v1", "Namespace", "", r.Namespace)
	ns.SetLabels(map[string]string{
		"app.kubernetes.io/managed-by":       apply.FieldManager,
		"pod-security.kubernetes.io/enforce": "restricted",
		"pod-security.kubernetes.io/warn":    "restricted",
	})
	return r.put(ctx, "namespace", ns)
}

// put applies objects of one step and says how many of them changed.
func (r *run) put(ctx context.Context, step string, objects ...*unstructured.Unstructured) error {
	changed := 0
	for _, o := range objects {
		change, err := r.applier.Apply(ctx, o)
		if err != nil {
			return err
		}
		if change != apply.Unchanged {
			changed++
		}
	}
	r.result.Changed += changed
	if changed > 0 {
		r.say(step, "%s changed.", phrase.Number(changed, "object", "objects"))
	} else {
		r.say(step, "Nothing changed.")
	}
	return nil
}

func object(apiVersion, kind, namespace, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion(apiVersion)
	o.SetKind(kind)
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}
