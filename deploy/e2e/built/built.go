// Package built finds the programs that make build made.
package built

import (
	"os"
	"path/filepath"
	"testing"
)

// Program is the path of a program, seen from a test of a package below deploy/e2e.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "..", "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; run: make build", err)
	}
	return path
}
