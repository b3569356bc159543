// Package install puts the server side of a fleet into a Kubernetes cluster, keeps it
// there, and takes it out again. Each step may be done again: a run that was cut off
// goes on where it stopped.
package install

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/cluster"
	"fleet.nationtech.io/deploy/install/credentials"
	"fleet.nationtech.io/eventlog/phrase"
)

// Options say what is installed, and where.
type Options struct {
	Config    *rest.Config
	Namespace string
	Profile   string
	Values    chart.Values // over the profile's
	// ImagesFrom is the registry and prefix below which the fleet's images of Version are;
	// empty: what is installed, or what Values name.
	ImagesFrom string
	Provider   *Provider // nil: what Values say, or what is installed
	Version    string    // of the fleet, for the record
	// Architectures are those of the images; empty: not known.
	Architectures []string
	// Keep has the values that are installed stay, below Values.
	Keep bool
	// Upgrade takes an installed fleet to another version, and fails where there is none.
	Upgrade bool

	DryRun bool // look and check, and change nothing
	Force  bool // take fields over that another field manager owns
	// Probe checks the way of a device into the fleet, at one of the URLs; nil: that is
	// left out.
	Probe func(ctx context.Context, url string, roots *x509.CertPool) error
	// SkipCheck leaves out the check at the end.
	SkipCheck bool
	// Timeout is how long each part may take to be ready.
	Timeout time.Duration
	Now     func() time.Time
	// Found is told what preflight found, before anything is changed.
	Found func([]cluster.Finding)
	// Tell is told what happens, in order.
	Tell func(Progress)
}

// DefaultProfile is installed where none is asked for.
const DefaultProfile = "production"

// AdminSecret has the login of an administrator.
const AdminSecret = credentials.SecretAdmin

// Progress is something that happened.
type Progress struct {
	Step     string // such as "namespace"
	Sentence string
	// Waiting marks what still goes on.
	Waiting bool
}

// Result is what was found and done.
type Result struct {
	Facts    cluster.Facts     `json:"-"`
	Findings []cluster.Finding `json:"findings"`
	Changes  []ChangeOf        `json:"changes"`
	// URLs is how devices reach the NATS servers; empty where that is not known.
	URLs []string `json:"urls"`
	// Dashboard is how persons open the web dashboard; nil: it is not served.
	Dashboard *Dashboard `json:"dashboard,omitempty"`
	// Former is the version that an upgrade leaves. Until the upgrade has ended its fleetctl
	// can install it again. Empty: there is none.
	Former string `json:"former,omitempty"`
}

// ChangeOf is what became of one object.
type ChangeOf struct {
	Ref
	Change apply.Change `json:"change"`
}

// Changed counts the objects that are not as they were.
func (r Result) Changed() int {
	n := 0
	for _, c := range r.Changes {
		if c.Change != apply.Unchanged && c.Change != apply.Absent {
			n++
		}
	}
	return n
}

// RefusedError says that preflight found what must be mended first.
type RefusedError struct{ Findings []cluster.Finding }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the cluster is not ready for a fleet: %s", phrase.Number(len(e.Findings), "thing must be mended first", "things must be mended first"))
}

// run is one installation under way.
type run struct {
	Options
	applier  *apply.Applier
	client   kubernetes.Interface
	result   Result
	before   *Record  // nil: nothing was installed
	settings settings // of the values, once they are settled
	objects  Ordered
	refs     []Ref // of the chart's objects
	secrets  credentials.Secrets
	unread   error // why what is installed could not be read
	remade   bool  // the servers' Secret is made again: released
}

// Install installs a fleet, or brings an installed one to what is wished.
//
// Errors: *RefusedError, with nothing changed; *apply.Conflict; *health.NotReady; what
// the chart or the API server refuses. All but the first may come in the middle: what
// is done stays, and the next run goes on.
func Install(ctx context.Context, o Options) (Result, error) {
	r, err := begin(o)
	if err != nil {
		return Result{}, err
	}
	steps := []func(context.Context) error{r.look, r.settle, r.render, r.preflight, r.namespace, r.remember, r.definitions, r.released, r.credentials, r.objectsFirst, r.certified, r.workloads, r.leftover, r.check, r.done}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return r.result, err
		}
	}
	return r.result, nil
}

func begin(o Options) (*run, error) {
	applier, err := apply.New(o.Config)
	if err != nil {
		return nil, err
	}
	applier.DryRun, applier.Force = o.DryRun, o.Force
	client, err := kubernetes.NewForConfig(o.Config)
	if err != nil {
		return nil, fmt.Errorf("client of the Kubernetes API: %w", err)
	}
	o.Values = maps.Clone(o.Values)
	return &run{Options: o, applier: applier, client: client}, nil
}

func (r *run) say(step, format string, args ...any) {
	r.Tell(Progress{Step: step, Sentence: fmt.Sprintf(format, args...)})
}

func (r *run) note(object *unstructured.Unstructured, change apply.Change) {
	r.result.Changes = append(r.result.Changes, ChangeOf{RefOf(object), change})
}

// look finds out what the cluster is, and what is installed in it.
func (r *run) look(ctx context.Context) error {
	var err error
	if r.result.Facts, err = cluster.Look(ctx, r.Config, r.Namespace, r.Now); err != nil {
		return err
	}
	there, err := r.applier.Get(ctx, Ref{"v1", "ConfigMap", r.Namespace, RecordName}.Object())
	if apierrors.IsForbidden(err) {
		r.unread = err // preflight says which rights are missing, this one among them
		return nil
	}
	if err != nil || there == nil {
		return err
	}
	record, err := ParseRecord(there)
	if err != nil {
		return fmt.Errorf("what is installed cannot be read: %w", err)
	}
	r.before = &record
	return nil
}

func (r *run) render(context.Context) error {
	if old, is := cluster.TooOld(r.result.Facts); is { // the chart would refuse it, too, in fewer words
		r.Found([]cluster.Finding{old})
		return &RefusedError{[]cluster.Finding{old}}
	}
	o := r.chartOptions()
	objects, err := chart.Render(o)
	if err != nil {
		return err
	}
	if r.settings, err = read(o); err != nil {
		return err
	}
	r.result.URLs, r.result.Dashboard = outsideURLs(r.settings), r.settings.Operator.Dashboard.way(r.Namespace)
	if r.objects, err = Order(objects); err != nil {
		return err
	}
	for _, o := range objects {
		r.refs = append(r.refs, RefOf(o))
	}
	return nil
}

func (r *run) chartOptions() chart.Options {
	values := r.Values
	if r.ImagesFrom != "" {
		values = chart.Merge(imagesBelow(r.ImagesFrom, r.Version), values)
	}
	return chart.Options{
		Namespace: r.Namespace, Profile: r.Profile, Values: values, Upgrade: r.before != nil,
		KubeVersion: r.result.Facts.Version, APIVersions: r.result.Facts.APIVersions,
	}
}

// ErrNothingInstalled says that a namespace has no fleet.
var ErrNothingInstalled = errors.New("no fleet is installed in this namespace")
