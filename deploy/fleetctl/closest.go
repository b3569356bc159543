package fleetctl

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
)

// mostClosest is how many names an error suggests.
const mostClosest = 3

// closest gives the names that a person may have meant, the likeliest first:
// those with few other letters, and those that begin alike.
func closest(name string, names []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	for _, n := range names {
		d := distance(name, n)
		if d <= max(2, len(name)/3) || strings.HasPrefix(n, name) || strings.HasPrefix(name, n) {
			near = append(near, candidate{n, d})
		}
	}
	slices.SortFunc(near, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), strings.Compare(a.name, b.name))
	})
	out := make([]string, 0, mostClosest)
	for _, c := range near[:min(len(near), mostClosest)] {
		out = append(out, c.name)
	}
	return out
}

// distance is the number of letters to put in, take out or change (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// namesInLog gives what a function makes of the addresses of all subjects that
// there are under a filter, sorted.
func namesInLog(ctx context.Context, js jetstream.JetStream, filter string, name func(eventlog.Address) string) ([]string, error) {
	s, err := js.Stream(ctx, eventlog.LogStream)
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, err
	}
	var out []string
	for subject := range info.State.Subjects {
		if a, err := eventlog.ParseSubject(subject); err == nil {
			if n := name(a); n != "" {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// lookup is how a command asked for a name, for the errors about one that the
// log does not know.
type lookup struct {
	device     func(id string) string // the command line behind the program's name
	deployment func(namespace, name string) string
	past       bool // it was asked for a moment of the past: the log may know it by now
}

// named is the lookup of commands that take KIND/NAME and --at.
func named(command string, m moment) lookup {
	return lookup{
		device:     func(id string) string { return command + " device/" + id },
		deployment: func(namespace, name string) string { return command + " deployment/" + name + " -n " + namespace },
		past:       !m.IsNow(),
	}
}

// selected is the lookup of commands that take --device and --deployment.
func selected(command string) lookup {
	return lookup{
		device:     func(id string) string { return command + " --device " + id },
		deployment: func(namespace, name string) string { return command + " --deployment " + namespace + "/" + name },
	}
}

// laterHint is what to try for a name that the log learned of after the moment
// that was asked for.
const laterHint = "a later moment: the log knows it by now"

// unknownDevice is the error about a device that the log does not know.
func unknownDevice(ctx context.Context, s Streams, js jetstream.JetStream, what error, id string, l lookup) error {
	names, err := devicesInLog(ctx, js)
	if err != nil {
		return err
	}
	if l.past && slices.Contains(names, id) {
		return failed(what, laterHint)
	}
	var tries []string
	names = slices.DeleteFunc(names, func(n string) bool { return n == id }) // a foreign message alone may have brought it
	for _, near := range closest(id, names) {
		tries = append(tries, display(s.Name)+" "+l.device(near))
	}
	if len(tries) == 0 {
		tries = []string{"what there is: " + display(s.Name) + " get devices"}
	}
	return failed(what, strings.Join(tries, ", or "))
}

// unknownDeployment is the error about a Deployment that the log does not know:
// it may be in another namespace, or spelled otherwise.
func unknownDeployment(ctx context.Context, s Streams, js jetstream.JetStream, what error, namespace, name string, l lookup) error {
	names, err := deploymentsInLog(ctx, js)
	if err != nil {
		return err
	}
	same := func(n string) bool {
		return n == namespace+"/"+name || namespace == "" && strings.HasSuffix(n, "/"+name)
	}
	if l.past && slices.ContainsFunc(names, same) {
		return failed(what, laterHint)
	}
	names = slices.DeleteFunc(names, same) // a foreign message alone may have brought it
	var elsewhere, plain []string
	for _, n := range names {
		_, bare, _ := strings.Cut(n, "/")
		plain = append(plain, bare)
		if bare == name {
			elsewhere = append(elsewhere, n)
		}
	}
	if len(elsewhere) == 0 {
		for _, near := range closest(name, slices.Compact(slices.Sorted(slices.Values(plain)))) {
			elsewhere = append(elsewhere, slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasSuffix(n, "/"+near) })...)
		}
	}
	if len(elsewhere) == 0 {
		return failed(what, "what there is: "+display(s.Name)+" get deployments -A")
	}
	var tries []string
	for _, n := range elsewhere[:min(len(elsewhere), mostClosest)] {
		ns, bare, _ := strings.Cut(n, "/")
		tries = append(tries, display(s.Name)+" "+l.deployment(ns, bare))
	}
	return failed(what, strings.Join(tries, ", or "))
}

// unknown is the error about a selection of which nothing was found because the
// log knows no such device or Deployment; nil where it does. A slip of the pen
// must not read as if nothing had happened.
func (s selection) unknown(ctx context.Context, out Streams, js jetstream.JetStream, command string) error {
	if s.device != "" {
		names, err := devicesInLog(ctx, js)
		if err != nil {
			return err
		}
		if !slices.Contains(names, s.device) {
			return unknownDevice(ctx, out, js, fmt.Errorf("the log knows no device %q", s.device), s.device, selected(command))
		}
	}
	if s.name == "" {
		return nil
	}
	names, err := deploymentsInLog(ctx, js)
	if err != nil {
		return err
	}
	for _, n := range names {
		if namespace, name, _ := strings.Cut(n, "/"); name == s.name && (s.namespace == "" || s.namespace == namespace) {
			return nil
		}
	}
	what := fmt.Errorf("the log knows no Deployment %s", strings.TrimPrefix(s.namespace+"/"+s.name, "/"))
	return unknownDeployment(ctx, out, js, what, s.namespace, s.name, selected(command))
}

func devicesInLog(ctx context.Context, js jetstream.JetStream) ([]string, error) {
	return namesInLog(ctx, js, eventlog.DeviceSubject(eventlog.Wildcard), func(a eventlog.Address) string { return a.Device })
}

// deploymentsInLog gives NAMESPACE/NAME of each.
func deploymentsInLog(ctx context.Context, js jetstream.JetStream) ([]string, error) {
	return namesInLog(ctx, js, eventlog.FamilySubjects(eventlog.FamilyDeployment), func(a eventlog.Address) string { return a.Namespace + "/" + a.Name })
}
