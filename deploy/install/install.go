// Package install puts the server side of a fleet into a Kubernetes cluster, keeps it
// there, and takes it out again. Each step may be done again: a run that was cut off
// goes on where it stopped.
package install

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	crds "fleet.nationtech.io/crds/install"
	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/cluster"
	"fleet.nationtech.io/deploy/install/credentials"
	"fleet.nationtech.io/deploy/install/health"
)

// Options say what is installed, and where.
type Options struct {
	Config    *rest.Config
	Namespace string
	Profile   string
	Values    chart.Values // over the profile's
	Provider  *Provider    // nil: what Values say, or what is installed
	Version   string       // of the fleet, for the record
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
	// Waiting marks what is still going on: the next of the same step replaces it on a
	// terminal.
	Waiting bool
}

// Result is what was found and done.
type Result struct {
	Facts    cluster.Facts     `json:"-"`
	Findings []cluster.Finding `json:"findings"`
	Changes  []ChangeOf        `json:"changes"`
	// URLs is how devices reach the NATS servers; empty where that is not known.
	URLs []string `json:"urls"`
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
	return fmt.Sprintf("the cluster is not ready for a fleet: %s", count(len(e.Findings), "thing must be mended first", "things must be mended first"))
}

// run is one installation under way.
type run struct {
	Options
	applier *apply.Applier
	client  kubernetes.Interface
	result  Result
	before  *Record // nil: nothing was installed
	objects Ordered
	refs    []Ref // of the chart's objects
	secrets credentials.Secrets
	unread  error // why what is installed could not be read
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
	steps := []func(context.Context) error{r.look, r.settle, r.render, r.preflight, r.namespace, r.remember, r.definitions, r.credentials, r.objectsFirst, r.workloads, r.leftover, r.check, r.done}
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

// settle decides what is installed: over what is there already.
func (r *run) settle(context.Context) error {
	b := r.before
	switch {
	case b == nil && r.Upgrade:
		return ErrNothingInstalled
	case b == nil:
	case r.Upgrade:
		if err := Upgradable(b.Version, r.Version); err != nil {
			return err
		}
	case b.Version != r.Version && (b.State == Installed || b.Before != r.Version):
		return &VersionError{Sentence: fmt.Sprintf("version %s is installed, and this is %s", b.Version, r.Version), Remedy: "fleetctl upgrade"}
	}
	r.Values = Merged(r.Provider.values(), r.Values)
	if b != nil {
		r.Profile = cmp.Or(r.Profile, b.Profile)
		if r.Keep {
			r.Values = Merged(b.Values, r.Values)
		}
	}
	r.Profile = cmp.Or(r.Profile, DefaultProfile)
	return nil
}

func (r *run) render(context.Context) error {
	objects, err := chart.Render(r.chartOptions())
	if err != nil {
		return err
	}
	if r.objects, err = Order(objects); err != nil {
		return err
	}
	for _, o := range objects {
		r.refs = append(r.refs, RefOf(o))
	}
	return nil
}

func (r *run) chartOptions() chart.Options {
	return chart.Options{
		Namespace: r.Namespace, Profile: r.Profile, Values: r.Values, Upgrade: r.before != nil,
		KubeVersion: r.result.Facts.Version, APIVersions: r.result.Facts.APIVersions,
	}
}

func (r *run) preflight(ctx context.Context) error {
	s, err := r.settings()
	if err != nil {
		return err
	}
	wish := r.wish(s)
	rights, err := r.rights()
	if err != nil {
		return err
	}
	if wish.Lacking, err = cluster.Lacking(ctx, r.Config, rights); err != nil {
		return err
	}
	r.result.Findings = cluster.Preflight(r.result.Facts, wish)
	if len(wish.Lacking) == 0 { // what follows reads the cluster's objects
		if r.unread != nil {
			return r.unread
		}
		claims, err := r.claims(ctx)
		if err != nil {
			return err
		}
		provider, err := r.provided(ctx, s)
		if err != nil {
			return err
		}
		r.result.Findings = slices.Concat(claims, provider, r.result.Findings)
	}
	r.Found(r.result.Findings)
	var refused []cluster.Finding
	for _, f := range r.result.Findings {
		if f.Level == cluster.Refuse {
			refused = append(refused, f)
		}
	}
	if len(refused) > 0 {
		return &RefusedError{refused}
	}
	return nil
}

// namespace makes the namespace, and has it enforce Pod Security. One that was there
// with a level of its own is left as it is.
func (r *run) namespace(ctx context.Context) error {
	there := r.result.Facts.Namespace
	if there.Exists && there.Enforce != "" && there.Manager != apply.FieldManager {
		r.say("namespace", "Namespace %s is there, with Pod Security %s.", r.Namespace, there.Enforce)
		return nil
	}
	ns := Ref{"v1", "Namespace", "", r.Namespace}.Object()
	ns.SetLabels(map[string]string{
		"app.kubernetes.io/managed-by":       apply.FieldManager,
		"pod-security.kubernetes.io/enforce": "restricted",
		"pod-security.kubernetes.io/warn":    "restricted",
	})
	return r.put(ctx, "namespace", ns)
}

// remember writes what is going to be installed before anything of it is: an
// installation that was cut off can be taken out again.
func (r *run) remember(ctx context.Context) error {
	if r.before != nil && r.before.State == Installed && r.sameAsBefore() {
		return nil // nothing to remember: a second run writes nothing
	}
	record := r.record(Installing)
	if r.before != nil {
		record.Objects = union(record.Objects, r.before.Objects)
	}
	return r.write(ctx, record)
}

func (r *run) definitions(ctx context.Context) error {
	if r.DryRun {
		return nil
	}
	if err := crds.Install(ctx, r.Config); err != nil {
		return err
	}
	r.say("CRDs", "The cluster serves the fleet's kinds.")
	return nil
}

// objectsFirst applies all that is no workload.
func (r *run) objectsFirst(ctx context.Context) error {
	return r.put(ctx, "objects", r.objects.First...)
}

// workloads begins one part after the other, each once the one before is ready.
func (r *run) workloads(ctx context.Context) error {
	for _, s := range r.objects.Workloads {
		step := string(s.Part)
		if step == "" {
			step = s.Object.GetName()
		}
		if err := r.put(ctx, step, s.Object); err != nil {
			return err
		}
		if r.DryRun {
			continue
		}
		err := health.Wait(ctx, r.client, s.Workload(), r.Timeout, func(state health.State) {
			said := state.Summary + "."
			for _, reason := range state.Reasons {
				said += " " + reason.Sentence
			}
			r.Tell(Progress{Step: step, Sentence: said, Waiting: !state.Ready})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// leftover deletes what an earlier installation made and this one does not have.
func (r *run) leftover(ctx context.Context) error {
	if r.before == nil {
		return nil
	}
	for _, ref := range Leftover(r.before.Objects, r.refs) {
		change, err := r.applier.Delete(ctx, ref.Object())
		if err != nil {
			return err
		}
		r.note(ref.Object(), change)
		if change == apply.Deleted {
			r.say("objects", "%s is not needed any more, and was deleted.", apply.Name(ref.Object()))
		}
	}
	return nil
}

func (r *run) done(ctx context.Context) error {
	if r.before != nil && r.before.State == Installed && r.sameAsBefore() {
		return nil
	}
	return r.write(ctx, r.record(Installed))
}

// put applies objects of one step and says how many of them changed.
func (r *run) put(ctx context.Context, step string, objects ...*unstructured.Unstructured) error {
	counts := map[apply.Change]int{}
	for _, o := range objects {
		change, err := r.applier.Apply(ctx, o)
		if err != nil {
			return err
		}
		counts[change]++
		r.note(o, change)
	}
	said := ""
	for _, c := range []apply.Change{apply.Created, apply.Changed, apply.Unchanged} {
		if counts[c] > 0 {
			if said != "" {
				said += ", "
			}
			said += fmt.Sprintf("%d %s", counts[c], c)
		}
	}
	if len(objects) == 1 {
		said = fmt.Sprintf("%s %s", apply.Name(objects[0]), r.result.Changes[len(r.result.Changes)-1].Change)
	}
	r.say(step, "%s.", said)
	return nil
}

func (r *run) write(ctx context.Context, record Record) error {
	if r.DryRun {
		return nil
	}
	o, err := record.Object(r.Namespace)
	if err != nil {
		return err
	}
	_, err = r.applier.Apply(ctx, o)
	return err
}

func (r *run) record(state State) Record {
	record := Record{State: state, Version: r.Version, Profile: r.Profile, Values: r.Values, Objects: union(r.refs, nil), Changed: r.Now()}
	if r.before != nil {
		record.Before = r.before.Before
		if r.before.Version != r.Version {
			record.Before = r.before.Version
		}
	}
	return record
}

// ErrNothingInstalled says that a namespace has no fleet.
var ErrNothingInstalled = errors.New("no fleet is installed in this namespace")

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
