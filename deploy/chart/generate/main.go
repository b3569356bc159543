// Command generate writes the files of the chart that code makes. `make generate` runs it.
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
	flag.Parse()
	files, err := chart.GeneratedFiles()
	if err == nil {
		err = write(*dir, files)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
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
