package fleetctl

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/resource"
)

// completionTimeout is how long a person waits for the Tab key.
const completionTimeout = time.Second

// kubectlCompleter is the name under which kubectl asks plugin fleet for completions:
// a link of that name on the PATH is enough.
const kubectlCompleter = "kubectl_complete-fleet"

const completionHelp = `Print the script by which a shell completes the command line of %[1]s.

Beside commands and flags it completes what the log has: Deployments, devices,
namespaces, and moments (how long ago, and the sequences of the last changes). That
comes from the servers that flags, environment or context name, within a second; without
a server the shell completes commands and flags alone.

For one shell, now:

  bash  source <(fleetctl completion bash)
  zsh   source <(fleetctl completion zsh)
  fish  fleetctl completion fish | source

For good, see the help of each. As a plugin, kubectl completes it where it finds
kubectl_complete-fleet on the PATH, beside kubectl-fleet: both are links to
fleetctl.`

// describeCompletion gives cobra's own command the help above.
func describeCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Short = "Print the script by which a shell completes the command line"
			cmd.Long = fmt.Sprintf(completionHelp, root.DisplayName())
			cmd.Args = cobra.ArbitraryArgs
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if len(args) == 0 {
					return cmd.Help()
				}
				return cli.Misused(fmt.Errorf("%q is not a shell that can be completed; shells: bash, fish, powershell, zsh", args[0]), cmd.CommandPath()+" bash")
			}
		}
	}
}

// maxMoments is how many of the last changes are offered as moments.
const maxMoments = 8

// completeMoments completes a flag that takes a moment: with how long ago, and with
// the sequences of the last changes of Deployments.
func completeMoments(cmd *cobra.Command, flag string, c *query.Connection) {
	complete.Flag(cmd, flag, func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ago := []cobra.Completion{"-5m", "-15m", "-1h", "-1d"}
		return append(ago, completion{c}.lastChanges()...), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	})
}

// completion completes with what the log has. Without a log it completes nothing: the
// shell shows no errors.
type completion struct{ c *query.Connection }

// bindLog completes the flags of log.
func (c completion) bindLog(cmd *cobra.Command) {
	for flag, f := range map[string]cobra.CompletionFunc{
		"device":     c.device,
		"deployment": c.qualified,
		"type":       complete.Words(query.TypeWords()),
		"output":     complete.Words([]string{render.OutputJSON, render.OutputText}),
		"since":      complete.Words([]string{"15m", "1h", "1d"}),
		"until":      complete.Words([]string{"15m", "1h", "1d"}),
	} {
		complete.Flag(cmd, flag, f)
	}
}

func (c completion) device(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.names(eventlog.DeviceSubject(eventlog.Wildcard), func(a eventlog.Address) string { return a.Device })
}

func (c completion) deployment(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.deployments(eventlog.Wildcard, func(a eventlog.Address) string { return "deployment/" + a.Name })
}

// deploymentName completes NAME and deployment/NAME.
func (c completion) deploymentName(_ *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	prefix := ""
	if word, _, slash := strings.Cut(toComplete, "/"); slash {
		prefix = word + "/"
	}
	return c.deployments(eventlog.Wildcard, func(a eventlog.Address) string { return prefix + a.Name })
}

// target completes the arguments of get: a kind, then names; or KIND/NAME.
func (c completion) target(f *getFlags) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		const none = cobra.ShellCompDirectiveNoFileComp
		word, _, slash := strings.Cut(toComplete, "/")
		prefix := ""
		switch {
		case slash:
			prefix = word + "/"
		case len(args) == 0:
			return append(resource.Plurals(), resource.Category), none
		case strings.Contains(args[0], "/"):
			return nil, none
		default:
			word = args[0]
		}
		r, err := resource.ByWord(word)
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

func (c completion) namesOf(r *resource.Resource, f *getFlags) ([]cobra.Completion, cobra.ShellCompDirective) {
	if !r.Namespaced {
		return c.names(eventlog.DeviceSubject(eventlog.Wildcard), func(a eventlog.Address) string { return a.Device })
	}
	namespace := f.namespace
	if f.allNamespaces {
		namespace = eventlog.Wildcard
	}
	return c.deployments(namespace, func(a eventlog.Address) string { return a.Name })
}

// refs completes kinds and, behind a kind and a slash, names.
func (c completion) refs(_ *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	word, _, slash := strings.Cut(toComplete, "/")
	prefix := word + "/"
	if n := len(args); !slash && n > 0 && !strings.Contains(args[n-1], "/") {
		if _, err := resource.ByWord(args[n-1]); err == nil {
			word, prefix = args[n-1], ""
		}
	}
	r, err := resource.ByWord(word)
	switch {
	case err != nil || !slash && prefix != "":
		return []cobra.Completion{"deployment/", "device/"}, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	case r.Namespaced:
		return c.deployments(eventlog.Wildcard, func(a eventlog.Address) string { return prefix + a.Name })
	}
	return c.names(eventlog.DeviceSubject(eventlog.Wildcard), func(a eventlog.Address) string { return prefix + a.Device })
}

func (c completion) namespace(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.deployments(eventlog.Wildcard, func(a eventlog.Address) string { return a.Namespace })
}

// qualified completes NAMESPACE/NAME of Deployments.
func (c completion) qualified(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.deployments(eventlog.Wildcard, func(a eventlog.Address) string { return a.Namespace + "/" + a.Name })
}

func (c completion) deployments(namespace string, name func(eventlog.Address) string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.names(eventlog.DeploymentSubject(namespace, eventlog.Wildcard), name)
}

// names completes with what a function makes of the log's subjects under a filter.
func (c completion) names(filter string, name func(eventlog.Address) string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	nc, js, err := c.c.OpenOnce(completionTimeout)
	if err != nil {
		return nil, none
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	names, err := query.NamesInLog(ctx, js, filter, name)
	if err != nil {
		return nil, none
	}
	return slices.DeleteFunc(names, func(n string) bool { return strings.ContainsAny(n, " \t") }), none
}

// lastChanges are the sequences of the last changes of Deployments, newest first, with
// what changed.
func (c completion) lastChanges() []cobra.Completion {
	nc, js, err := c.c.OpenOnce(completionTimeout)
	if err != nil {
		return nil
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	log, err := logstream.Inspect(ctx, js)
	if err != nil {
		return nil
	}
	const lookBack = 1 << 12 // messages of the log; a person seldom means an older change
	o := reader.Options{From: 1, Subjects: []string{eventlog.FamilySubjects(eventlog.FamilyDeployment)}}
	if log.Last > lookBack {
		o.From = log.Last - lookBack
	}
	var out []cobra.Completion
	for e, err := range reader.Read(ctx, js, o) {
		if err == nil {
			out = append(out, cobra.CompletionWithDesc(strconv.FormatUint(e.Sequence, 10),
				fmt.Sprintf("%s %s %s", e.Recorded.Local().Format(render.TimeLayout), e.Type, render.About(e))))
		}
	}
	slices.Reverse(out)
	return out[:min(len(out), maxMoments)]
}
