// Write makes the packages of agents that were built before: a deb and an rpm of each.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"fleet.nationtech.io/deploy/packages"
	"fleet.nationtech.io/deploy/packages/pkgfile"
	"fleet.nationtech.io/deploy/wholefile"
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
	var all []packages.Package
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
			all = append(all, p)
		}
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	if err := clean(*out); err != nil {
		return err
	}
	for _, p := range all {
		path := filepath.Join(*out, p.File)
		if err := wholefile.Write(path, 0o644, p.Content); err != nil {
			return err
		}
		fmt.Println(path)
	}
	return nil
}

// former are the names of the agent's packages of any version.
var former = regexp.MustCompile(`^` + regexp.QuoteMeta(pkgfile.Name) + `(_[0-9][^_]*_(amd64|arm64|armhf)\.deb|-[0-9].*\.(x86_64|aarch64|armv7hl)\.rpm)$`)

// clean removes the packages of versions before: fleetctl enroll takes the one package in
// a directory that fits the device, and refuses two.
func clean(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if former.MatchString(e.Name()) && e.Type().IsRegular() {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
