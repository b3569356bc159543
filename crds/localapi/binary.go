package localapi

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// BinaryEnv names the environment variable that says where kubeapi is.
const BinaryEnv = "FLEET_KUBEAPI"

const binaryName = "kubeapi"

// ErrNoBinary means that kubeapi was not found. It is built apart, because it
// takes minutes.
var ErrNoBinary = errors.New("the embedded Kubernetes API is not built: run: make bin/kubeapi")

// FindBinary returns the path of kubeapi: what $FLEET_KUBEAPI says, or else
// bin/kubeapi beside the go.work above the working directory, or beside the
// running program, or on $PATH.
//
// Errors: ErrNoBinary; $FLEET_KUBEAPI set, but not to a program.
func FindBinary() (string, error) {
	if path := os.Getenv(BinaryEnv); path != "" {
		if !isProgram(path) {
			return "", fmt.Errorf("$%s is %s, which is not a program", BinaryEnv, path)
		}
		return path, nil
	}
	if root, found := workspace(); found {
		if path := filepath.Join(root, "bin", binaryName); isProgram(path) {
			return path, nil
		}
	}
	if self, err := os.Executable(); err == nil {
		if path := filepath.Join(filepath.Dir(self), binaryName); isProgram(path) {
			return path, nil
		}
	}
	if path, err := exec.LookPath(binaryName); err == nil {
		return path, nil
	}
	return "", ErrNoBinary
}

// workspace is the nearest folder upwards that holds a go.work.
func workspace() (string, bool) {
	dir, err := os.Getwd()
	if err != nil {
		return "", false
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
