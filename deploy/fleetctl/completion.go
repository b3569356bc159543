package fleetctl

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
)

// completionPatience is how long a person waits for the Tab key.
const completionPatience = time.Second

// completer is the name under which kubectl asks plugin fleet for completions: a
// link of that name on the PATH is enough.
const completer = "kubectl_complete-fleet"

const completionHelp = `Print the script by which a shell completes the command line of %[1]s.

Beside commands and flags it completes what the log knows: Deployments, devices,
namespaces, and moments (how long ago, and the last changes with their places in
the log). That comes from the server that --url or $FLEET_NATS_URL names, within a
second; without one nothing is completed, and nothing is said.

For one shell, now:

  bash  source <(fleetctl completion bash)
  zsh   source <(fleetctl completion zsh)
  fish  fleetctl completion fish | source

For good, see the help of each. As a plugin, kubectl completes it where it finds
kubectl_complete-fleet on the PATH, beside kubectl-fleet: both are links to
fleetctl.`

// describeCompletion puts the fleet's own words on cobra's command.
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
				return misused(fmt.Errorf("no completion is made for %q: there are bash, fish, powershell and zsh", args[0]), cmd.CommandPath()+" bash")
			}
		}
	}
}

// completeFlag registers how a flag's values are completed.
func completeFlag(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // a flag that the command's own file misspells
	}
}

// completeFile says that a flag takes a file.
func completeFile(cmd *cobra.Command, flag string) {
	if err := cmd.MarkFlagFilename(flag); err != nil {
		panic(err) // a flag that the command's own file misspells
	}
}

// completeNoFiles keeps a shell from offering files for flags that take none, of
// which nothing else is known to offer.
func completeNoFiles(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		_, file := f.Annotations[cobra.BashCompFilenameExt]
		if _, known := cmd.GetFlagCompletionFunc(f.Name); !known && !file && f.Value.Type() != "bool" {
			completeFlag(cmd, f.Name, cobra.NoFileCompletions)
		}
	})
}

// mostMoments is how many of the last changes are offered as moments.
const mostMoments = 8

// completeMoments completes a flag that takes a moment: with how long ago, and
// with the places of the last changes of Deployments in the log.
func completeMoments(cmd *cobra.Command, flag string) {
	completeFlag(cmd, flag, func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ago := []cobra.Completion{"-5m", "-15m", "-1h", "-1d"}
		return append(ago, connectionOf(cmd).lastChanges()...), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	})
}

// connectionOf is the connection that a command line's flags and the environment
// describe.
func connectionOf(cmd *cobra.Command) *connection {
	flag := func(name string) string { return cmd.Root().PersistentFlags().Lookup(name).Value.String() }
	return &connection{url: flag("url"), user: flag("user"), password: flag("password")}
}

// lastChanges are the places of the last changes of Deployments, newest first,
// with what changed.
func (c *connection) lastChanges() []cobra.Completion {
	nc, js, ok := c.tab()
	if !ok {
		return nil
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), completionPatience)
	defer cancel()
	log, err := logstream.Inspect(ctx, js)
	if err != nil {
		return nil
	}
	const lookBack = 1 << 12 // of the log; what is older is seldom meant, and its place known
	o := reader.Options{From: 1, Subjects: []string{eventlog.FamilySubjects(eventlog.FamilyDeployment)}}
	if log.Last > lookBack {
		o.From = log.Last - lookBack
	}
	var out []cobra.Completion
	for e, err := range reader.Read(ctx, js, o) {
		if err == nil {
			out = append(out, cobra.CompletionWithDesc(strconv.FormatUint(e.Sequence, 10),
				fmt.Sprintf("%s %s %s", e.Recorded.Local().Format(clockForm), e.Type, about(e))))
		}
	}
	slices.Reverse(out)
	return out[:min(len(out), mostMoments)]
}

// tab connects for a completion: quickly, or not at all.
func (c *connection) tab() (*nats.Conn, jetstream.JetStream, bool) {
	if c.url == "" {
		return nil, nil, false
	}
	nc, js, err := c.connect(nats.Timeout(completionPatience), nats.NoReconnect())
	return nc, js, err == nil
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
	nc, js, ok := c.tab()
	if !ok {
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
