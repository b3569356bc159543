package query

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/spelling"
)

// NamesInLog gives what a function makes of the addresses of all subjects that
// there are under a filter, sorted.
func NamesInLog(ctx context.Context, js jetstream.JetStream, filter string, name func(eventlog.Address) string) ([]string, error) {
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

// Hints makes the command lines that an error about an unknown name suggests.
type Hints struct {
	device     func(id string) string // the command line behind the program's name
	deployment func(namespace, name string) string
	past       bool // it was asked for a moment of the past: the log may know it by now
}

// HintsByRef are the hints of commands that take KIND/NAME and --at.
func HintsByRef(command string, m Moment) Hints {
	return Hints{
		device:     func(id string) string { return command + " device/" + id },
		deployment: func(namespace, name string) string { return command + " deployment/" + name + " -n " + namespace },
		past:       !m.IsNow(),
	}
}

// HintsByFlag are the hints of commands that take --device and --deployment.
func HintsByFlag(command string) Hints {
	return Hints{
		device:     func(id string) string { return command + " --device " + id },
		deployment: func(namespace, name string) string { return command + " --deployment " + namespace + "/" + name },
	}
}

// laterHint is what to try for a name that the log learned of after the moment
// that was asked for.
const laterHint = "a later moment: the log knows it by now"

// UnknownDevice is the error about a device that the log does not know.
func UnknownDevice(ctx context.Context, s cli.Streams, js jetstream.JetStream, what error, id string, l Hints) error {
	names, err := devicesInLog(ctx, js)
	if err != nil {
		return err
	}
	if l.past && slices.Contains(names, id) {
		return cli.Failed(what, laterHint)
	}
	var tries []string
	names = slices.DeleteFunc(names, func(n string) bool { return n == id }) // a foreign message alone may have brought it
	for _, near := range spelling.Closest(id, names) {
		tries = append(tries, s.Program()+" "+l.device(near))
	}
	if len(tries) == 0 {
		tries = []string{"what there is: " + s.Program() + " get devices"}
	}
	return cli.Failed(what, strings.Join(tries, ", or "))
}

// UnknownDeployment is the error about a Deployment that the log does not know:
// it may be in another namespace, or spelled otherwise.
func UnknownDeployment(ctx context.Context, s cli.Streams, js jetstream.JetStream, what error, namespace, name string, l Hints) error {
	names, err := deploymentsInLog(ctx, js)
	if err != nil {
		return err
	}
	same := func(n string) bool {
		return n == namespace+"/"+name || namespace == "" && strings.HasSuffix(n, "/"+name)
	}
	if l.past && slices.ContainsFunc(names, same) {
		return cli.Failed(what, laterHint)
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
		for _, near := range spelling.Closest(name, slices.Compact(slices.Sorted(slices.Values(plain)))) {
			elsewhere = append(elsewhere, slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasSuffix(n, "/"+near) })...)
		}
	}
	if len(elsewhere) == 0 {
		return cli.Failed(what, "what there is: "+s.Program()+" get deployments -A")
	}
	var tries []string
	for _, n := range elsewhere[:min(len(elsewhere), spelling.MaxClosest)] {
		ns, bare, _ := strings.Cut(n, "/")
		tries = append(tries, s.Program()+" "+l.deployment(ns, bare))
	}
	return cli.Failed(what, strings.Join(tries, ", or "))
}

// CheckKnown is the error about a selection of which nothing was found because the
// log knows no such device or Deployment; nil where it does. A slip of the pen
// must not read as if nothing had happened.
func (s Selection) CheckKnown(ctx context.Context, out cli.Streams, js jetstream.JetStream, command string) error {
	if s.Device != "" {
		names, err := devicesInLog(ctx, js)
		if err != nil {
			return err
		}
		if !slices.Contains(names, s.Device) {
			return UnknownDevice(ctx, out, js, fmt.Errorf("the log knows no device %q", s.Device), s.Device, HintsByFlag(command))
		}
	}
	if s.Name == "" {
		return nil
	}
	names, err := deploymentsInLog(ctx, js)
	if err != nil {
		return err
	}
	for _, n := range names {
		if namespace, name, _ := strings.Cut(n, "/"); name == s.Name && (s.Namespace == "" || s.Namespace == namespace) {
			return nil
		}
	}
	what := fmt.Errorf("the log knows no Deployment %s", strings.TrimPrefix(s.Namespace+"/"+s.Name, "/"))
	return UnknownDeployment(ctx, out, js, what, s.Namespace, s.Name, HintsByFlag(command))
}

func devicesInLog(ctx context.Context, js jetstream.JetStream) ([]string, error) {
	return NamesInLog(ctx, js, eventlog.DeviceSubject(eventlog.Wildcard), func(a eventlog.Address) string { return a.Device })
}

// deploymentsInLog gives NAMESPACE/NAME of each.
func deploymentsInLog(ctx context.Context, js jetstream.JetStream) ([]string, error) {
	return NamesInLog(ctx, js, eventlog.FamilySubjects(eventlog.FamilyDeployment), func(a eventlog.Address) string { return a.Namespace + "/" + a.Name })
}

// NothingMatched ends a command that found no event to show. That is no failure, but
// for a name that the log does not know.
func (c *Connection) NothingMatched(ctx context.Context, s cli.Streams, nc *nats.Conn, js jetstream.JetStream, sel Selection, command string) error {
	if err := sel.CheckKnown(ctx, s, js, command); err != nil {
		return c.Explain(err, nc)
	}
	if s.Terminal {
		why := ""
		if sel.Trace != "" {
			why = " Events name a trace only where the operator has a collector: --trace-endpoint."
		}
		s.Warn("No event matches.%s\n", why)
	}
	return nil
}
