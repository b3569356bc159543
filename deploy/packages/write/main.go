// Write makes the packages of agents that were built before: a deb and an rpm of each.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"fleet.nationtech.io/deploy/packages"
	"fleet.nationtech.io/deploy/packages/pkgfile"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "packages:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("write", flag.ContinueOnError)
	out := flags.String("out", "dist/packages", "the `directory` of the packages")
	version := flags.String("version", "", "what fleet-agent --version prints")
	date := flags.Int64("date", 0, "the time of the commit, in `seconds` since 1970")
	maintainer := flags.String("maintainer", "", "a name and an address, as Debian wants them")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 || *version == "" {
		return errors.New("give -version, -date, -maintainer, and ARCH=FILE for each agent")
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	for _, agent := range flags.Args() {
		arch, file, _ := strings.Cut(agent, "=")
		program, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, f := range pkgfile.Formats() {
			p, err := packages.Build(f, packages.Agent{Program: program, Arch: arch, Version: *version, Date: time.Unix(*date, 0), Maintainer: *maintainer})
			if err != nil {
				return err
			}
			path := filepath.Join(*out, p.File)
			if err := os.WriteFile(path, p.Content, 0o644); err != nil {
				return err
			}
			fmt.Println(path)
		}
	}
	return nil
}
