package fleetctl

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/eventlog"
)

// completionPatience is how long a person waits for the Tab key.
const completionPatience = time.Second

// completeFlag registers how a flag's values are completed.
func completeFlag(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // a flag that the command's own file misspells
	}
}

// completeMoments completes a flag that takes a moment.
func completeMoments(cmd *cobra.Command, flag string) {
	completeFlag(cmd, flag, func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return []cobra.Completion{"-5m", "-15m", "-1h", "-1d"}, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	})
}

// fixed completes with words that are always the same.
func fixed(words []string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

// completions completes the flags of log.
func (c *connection) completions(cmd *cobra.Command) {
	for flag, f := range map[string]cobra.CompletionFunc{
		"device":     c.completeDevice,
		"deployment": c.completeQualified,
		"type":       fixed(typeWords()),
		"output":     fixed([]string{outputJSON, outputText}),
		"since":      fixed([]string{"15m", "1h", "1d"}),
		"until":      fixed([]string{"15m", "1h", "1d"}),
	} {
		completeFlag(cmd, flag, f)
	}
}

func (c *connection) completeDevice(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.names(eventlog.DeviceSubject(eventlog.Wildcard), func(a eventlog.Address) string { return a.Device })
}

func (c *connection) completeDeployment(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.names(eventlog.DeploymentSubject(eventlog.Wildcard, eventlog.Wildcard), func(a eventlog.Address) string { return "deployment/" + a.Name })
}

// completeTarget completes the arguments of get: a kind, then names; or KIND/NAME.
func (c *connection) completeTarget(f *getFlags) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		const none = cobra.ShellCompDirectiveNoFileComp
		word, _, slash := strings.Cut(toComplete, "/")
		prefix := ""
		switch {
		case slash:
			prefix = word + "/"
		case len(args) == 0:
			return append(resourceWords(), category), none
		case strings.Contains(args[0], "/"):
			return nil, none
		default:
			word = args[0]
		}
		r, err := resourceOf(word)
		if err != nil {
			return nil, none
		}
		names, directive := c.namesOf(r, f)
		var out []cobra.Completion
		for _, name := range names {
			if !slices.Contains(args[min(1, len(args)):], name) {
				out = append(out, prefix+name)
			}
		}
		return out, directive
	}
}

func (c *connection) namesOf(r *resource, f *getFlags) ([]cobra.Completion, cobra.ShellCompDirective) {
	if !r.namespaced {
		return c.names(eventlog.DeviceSubject(eventlog.Wildcard), func(a eventlog.Address) string { return a.Device })
	}
	namespace := f.namespace
	if f.allNamespaces {
		namespace = eventlog.Wildcard
	}
	return c.names(eventlog.DeploymentSubject(namespace, eventlog.Wildcard), func(a eventlog.Address) string { return a.Name })
}

func (c *connection) completeNamespace(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.names(eventlog.DeploymentSubject(eventlog.Wildcard, eventlog.Wildcard), func(a eventlog.Address) string { return a.Namespace })
}

func (c *connection) completeQualified(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.names(eventlog.DeploymentSubject(eventlog.Wildcard, eventlog.Wildcard), func(a eventlog.Address) string { return a.Namespace + "/" + a.Name })
}

// names asks the log which subjects there are. Without a log nothing is
// completed: the shell shows no errors.
func (c *connection) names(filter string, name func(eventlog.Address) string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	if c.url == "" {
		return nil, none
	}
	nc, js, err := c.open()
	if err != nil {
		return nil, none
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), completionPatience)
	defer cancel()
	s, err := js.Stream(ctx, eventlog.LogStream)
	if err != nil {
		return nil, none
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, none
	}
	var out []string
	for subject := range info.State.Subjects {
		if a, err := eventlog.ParseSubject(subject); err == nil && !strings.ContainsAny(name(a), " \t") {
			out = append(out, name(a))
		}
	}
	slices.Sort(out)
	return slices.Compact(out), none
}
