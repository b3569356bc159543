package fleetctl

import (
	"cmp"
	"context"
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

// unknownDevice is the error about a device that the log does not know.
func unknownDevice(ctx context.Context, s Streams, js jetstream.JetStream, what error, id, command string) error {
	names, err := namesInLog(ctx, js, eventlog.DeviceSubject(eventlog.Wildcard), func(a eventlog.Address) string { return a.Device })
	if err != nil {
		return err
	}
	if near := closest(id, names); len(near) > 0 {
		return failed(what, display(s.Name)+" "+command+" device/"+strings.Join(near, ", or device/"))
	}
	return failed(what, "what there is: "+display(s.Name)+" get devices")
}

// unknownDeployment is the error about a Deployment that the log does not know:
// it may be in another namespace, or spelled otherwise.
func unknownDeployment(ctx context.Context, s Streams, js jetstream.JetStream, what error, name, command string) error {
	names, err := namesInLog(ctx, js, eventlog.FamilySubjects(eventlog.FamilyDeployment), func(a eventlog.Address) string { return a.Namespace + "/" + a.Name })
	if err != nil {
		return err
	}
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
		tries = append(tries, display(s.Name)+" "+command+" deployment/"+bare+" -n "+ns)
	}
	return failed(what, strings.Join(tries, ", or "))
}
