// Command generate writes what code makes of the chart: files of the chart itself, and the
// kustomize base with its overlays. `make generate` runs it.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"fleet.nationtech.io/deploy/chart"
)

func main() {
	dir := flag.String("dir", "deploy/chart/fleet", "the chart's folder")
	kustomize := flag.String("kustomize", "", "the folder of the kustomize base and overlays, made from the chart as it is compiled in; the chart's own files are left alone then")
	flag.Parse()
	if err := run(*dir, *kustomize); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(dir, kustomize string) error {
	if kustomize != "" {
		files, err := chart.KustomizeFiles()
		if err != nil {
			return err
		}
		if err := os.RemoveAll(kustomize); err != nil { // all of it is made
			return err
		}
		return write(kustomize, files)
	}
	files, err := chart.GeneratedFiles()
	if err != nil {
		return err
	}
	return write(dir, files)
}

func write(dir string, files map[string][]byte) error {
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
