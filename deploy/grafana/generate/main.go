// Command generate writes the files of deploy/grafana: dashboards, provisioning, rules
// and Kubernetes' objects. `make generate` runs it.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"fleet.nationtech.io/deploy/grafana/provision"
	"fleet.nationtech.io/deploy/grafana/rules"
)

func main() {
	dir := flag.String("dir", "deploy/grafana", "where the files are written")
	runbooks := flag.String("runbooks", rules.DefaultRunbooks, "the address below which the pages of docs/runbooks are; alerts name it")
	flag.Parse()
	if err := write(*dir, *runbooks); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func write(dir, runbooks string) error {
	files, err := provision.Files(runbooks)
	if err != nil {
		return err
	}
	for path, content := range files {
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
