package install

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	crds "fleet.nationtech.io/crds/install"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/health"
)

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
	if r.recorded() {
		return nil
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
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	if err := crds.Install(ctx, r.Config); err != nil {
		return err
	}
	r.say("CRDs", "The cluster serves the fleet's kinds.")
	err := crds.Policies(ctx, r.Config)
	if errors.Is(err, crds.ErrPoliciesNotServed) {
		r.say("policies", "The log will not name who changes a Deployment: %v.", err)
		return nil
	}
	if err == nil {
		r.say("policies", "Admission policies name who changes a Deployment.")
	}
	return err
}

// objectsFirst applies all that is no workload.
func (r *run) objectsFirst(ctx context.Context) error {
	return r.put(ctx, "objects", r.objects.First...)
}

// workloads begins one part after the other, each once the one before is ready.
func (r *run) workloads(ctx context.Context) error {
	for _, s := range r.objects.Workloads {
		if s.Part == NATS {
			if err := r.natsServers(ctx, s); err != nil {
				return err
			}
			continue
		}
		if err := r.start(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// start applies a workload, and waits until it is ready.
func (r *run) start(ctx context.Context, s Started) error {
	step := string(s.Part)
	if step == "" {
		step = s.Object.GetName()
	}
	if err := r.put(ctx, step, s.Object); err != nil || r.DryRun {
		return err
	}
	return health.Wait(ctx, r.client, s.Workload(), r.Timeout, func(state health.State) {
		said := state.Summary + "."
		for _, reason := range state.Reasons {
			said += " " + reason.Sentence
		}
		r.Tell(Progress{Step: step, Sentence: said, Waiting: !state.Ready})
	})
}

// natsServers starts the NATS servers. Those that are there read accounts and
// certificates again without a restart, where nothing else of them changed.
func (r *run) natsServers(ctx context.Context, s Started) error {
	wished := s.Object.DeepCopy()
	there, err := r.reloadable(ctx, s.Object)
	if err != nil {
		return err
	}
	if err := r.start(ctx, s); err != nil || r.DryRun || !there {
		return err
	}
	return r.reload(ctx, s.Object, func() error {
		if err := restartAt(wished, r.Now()); err != nil {
			return err
		}
		return r.start(ctx, Started{s.Part, wished})
	})
}

// restartAt has pods restarted, though nothing that they are made of differs.
func restartAt(workload *unstructured.Unstructured, now time.Time) error {
	return annotateTemplate(workload, map[string]string{restartedAnnotation: now.UTC().Format(time.RFC3339)})
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
	if r.recorded() {
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
	record := Record{
		State: state, Version: r.Version, Profile: r.Profile, Values: r.Values, ImagesFrom: r.ImagesFrom,
		Objects: union(r.refs, nil), Changed: r.Now(),
	}
	if state == Installed {
		record.Secrets = r.wanted()
	}
	if b := r.before; b != nil {
		if state != Installed {
			record.Secrets = b.Secrets
		}
		record.Before = b.Before
		if b.Version != r.Version && (b.State != Installing || b.Before == "") {
			record.Before = b.Version
		}
	}
	return record
}
