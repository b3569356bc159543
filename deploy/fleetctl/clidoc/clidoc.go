// Package clidoc writes the reference of a command line as Markdown, out of the
// commands themselves, so that it cannot say other than they do.
package clidoc

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Guide is what a reference says beside the commands.
type Guide struct {
	Title string
	Intro string
	// ExitCodes are those of all commands, in order. Of names the commands that
	// give one; nil is every command.
	ExitCodes []ExitCode
	// Environment is what is read of it, in order.
	Environment []Variable
}

// ExitCode is one, and what it means.
type ExitCode struct {
	Code    int
	Meaning string
	Of      []string
}

// Variable is one of the environment's.
type Variable struct{ Name, Meaning string }

// Markdown writes the reference of a root command.
func Markdown(root *cobra.Command, g Guide) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n\n", g.Title, g.Intro)
	b.WriteString("| command | |\n|---|---|\n")
	commands := documented(root)
	for _, c := range commands {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", c.CommandPath(), anchor(c), cell(c.Short))
	}
	b.WriteString("\n## Exit codes\n\n| code | meaning | commands |\n|---|---|---|\n")
	for _, e := range g.ExitCodes {
		fmt.Fprintf(&b, "| %d | %s | %s |\n", e.Code, cell(e.Meaning), of(e.Of))
	}
	b.WriteString("\n## Environment\n\n| variable | meaning |\n|---|---|\n")
	for _, v := range g.Environment {
		fmt.Fprintf(&b, "| `%s` | %s |\n", v.Name, cell(v.Meaning))
	}
	b.WriteString("\n## Flags of every command\n\n")
	fence(&b, flags(root.PersistentFlags()))
	for _, c := range commands {
		command(&b, c, g)
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// documented lists the commands that a person types, in the order of help.
func documented(root *cobra.Command) []*cobra.Command {
	var out []*cobra.Command
	for _, c := range root.Commands() {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		if c.Runnable() || c.Name() == "completion" {
			out = append(out, c)
		}
		if c.Name() != "completion" { // its shells are its arguments, in all but name
			out = append(out, documented(c)...)
		}
	}
	return out
}

func command(b *strings.Builder, c *cobra.Command, g Guide) {
	fmt.Fprintf(b, "\n## %s\n\n", c.CommandPath())
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	b.WriteString(prose(long))
	usage := c.UseLine()
	if c.HasSubCommands() {
		var names []string
		for _, s := range c.Commands() {
			names = append(names, s.Name())
		}
		usage = c.CommandPath() + " " + strings.Join(names, "|")
	}
	b.WriteString("\n")
	fence(b, usage)
	if own := flags(c.LocalNonPersistentFlags()); own != "" {
		b.WriteString("\nFlags:\n\n")
		fence(b, own)
	}
	if c.Example != "" {
		b.WriteString("\nExamples:\n\n")
		fence(b, dedent(c.Example))
	}
	if own := exits(c, g); own != "" {
		fmt.Fprintf(b, "\nExit codes: %s.\n", own)
	}
}

// exits lists the codes that a command gives.
func exits(c *cobra.Command, g Guide) string {
	var out []string
	for _, e := range g.ExitCodes {
		if e.Of == nil {
			out = append(out, fmt.Sprint(e.Code))
			continue
		}
		for _, name := range e.Of {
			if name == c.Name() {
				out = append(out, fmt.Sprintf("%d (%s)", e.Code, e.Meaning))
			}
		}
	}
	return strings.Join(out, ", ")
}

// flags is the help of a command's own flags, but for help itself.
func flags(all *pflag.FlagSet) string {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	own.SortFlags = all.SortFlags
	all.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "help" && f.Name != "version" {
			own.AddFlag(f)
		}
	})
	return dedent(strings.TrimRight(own.FlagUsages(), "\n"))
}

// prose keeps paragraphs, and fences what a command's help indents.
func prose(text string) string {
	var b strings.Builder
	var code []string
	flush := func() {
		for len(code) > 0 && code[len(code)-1] == "" {
			code = code[:len(code)-1]
		}
		if len(code) > 0 {
			fence(&b, dedent(strings.Join(code, "\n")))
			b.WriteString("\n")
		}
		code = nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case strings.HasPrefix(line, "  "), line == "" && code != nil:
			code = append(code, line)
		default:
			flush()
			b.WriteString(escape(line) + "\n")
		}
	}
	flush()
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func fence(b *strings.Builder, text string) {
	fmt.Fprintf(b, "```\n%s\n```\n", strings.TrimRight(text, "\n"))
}

// dedent takes away the indentation that all lines share.
func dedent(text string) string {
	lines := strings.Split(text, "\n")
	least := -1
	for _, l := range lines {
		if n := len(l) - len(strings.TrimLeft(l, " ")); strings.TrimSpace(l) != "" && (least < 0 || n < least) {
			least = n
		}
	}
	for i, l := range lines {
		lines[i] = strings.TrimRight(l[min(max(least, 0), len(l)):], " ")
	}
	return strings.Join(lines, "\n")
}

var markdown = strings.NewReplacer("<", `\<`, "*", `\*`, "_", `\_`, "`", "\\`")

func escape(text string) string { return markdown.Replace(text) }

func cell(text string) string { return strings.ReplaceAll(escape(text), "|", `\|`) }

func of(commands []string) string {
	if commands == nil {
		return "all"
	}
	return "`" + strings.Join(commands, "`, `") + "`"
}

func anchor(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }
