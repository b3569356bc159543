package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
)

const (
	socketFile = "etcd.sock"
	// peerSocketFile is for the other members of the store, of which there are none.
	peerSocketFile = "peer.sock"
	// maxSocketPath is the shortest limit of the systems that this runs on:
	// sun_path holds 108 bytes on Linux, 104 elsewhere, one of them a NUL.
	maxSocketPath = 103
)

// plainPath is what survives, unescaped, as a URL in a comma-separated list,
// which is how etcd's address reaches both of its ends.
var plainPath = regexp.MustCompile(`^[A-Za-z0-9/._-]+$`)

// etcdSocket is where etcd and the API server meet: a Unix socket, because a
// port of etcd's would be open to every user of the machine.
type etcdSocket struct {
	path string
	// shortDir, if not empty, was made for the socket and goes with it.
	shortDir string
}

// newEtcdSocket chooses the path, in dataDir where that fits and else in a short
// private directory below tempDirs, and clears what a killed process left there.
// The caller holds the lock of dataDir, so nobody serves it.
func newEtcdSocket(dataDir string, tempDirs ...string) (*etcdSocket, error) {
	socket := &etcdSocket{path: filepath.Join(dataDir, socketFile)}
	if !usableSocketPath(socket.path) {
		dir, err := shortSocketDir(dataDir, tempDirs)
		if err != nil {
			return nil, err
		}
		socket.path, socket.shortDir = filepath.Join(dir, socketFile), dir
	}
	if err := errors.Join(removeIfPresent(socket.path), removeIfPresent(socket.peerPath())); err != nil {
		return nil, fmt.Errorf("remove stale etcd socket: %w", err)
	}
	return socket, nil
}

func (s *etcdSocket) peerPath() string { return filepath.Join(filepath.Dir(s.path), peerSocketFile) }

func (s *etcdSocket) url() string { return "unix://" + s.path }

func (s *etcdSocket) remove() error {
	err := errors.Join(removeIfPresent(s.path), removeIfPresent(s.peerPath()))
	if s.shortDir != "" {
		err = errors.Join(err, removeIfPresent(s.shortDir))
	}
	return err
}

func usableSocketPath(path string) bool {
	return len(path) <= maxSocketPath && plainPath.MatchString(path)
}

// shortSocketDir returns a directory that only this user can enter. Its name
// follows from the data directory's, so that the one left by a killed process is
// used again instead of piling up.
func shortSocketDir(dataDir string, tempDirs []string) (string, error) {
	sum := sha256.Sum256([]byte(dataDir))
	name := fmt.Sprintf("kubeapi-%d-%s", os.Getuid(), hex.EncodeToString(sum[:8]))
	var problems error
	for _, temp := range tempDirs {
		dir := filepath.Join(temp, name)
		if !usableSocketPath(filepath.Join(dir, socketFile)) {
			problems = errors.Join(problems, fmt.Errorf("%s does not fit a socket's path", dir))
			continue
		}
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			problems = errors.Join(problems, err)
			continue
		}
		if err := ownedByUsAlone(dir); err != nil {
			problems = errors.Join(problems, err)
			continue
		}
		return dir, nil
	}
	return "", fmt.Errorf("no directory for etcd's socket (the data directory's path is too long for one): %w", problems)
}

// ownedByUsAlone refuses a directory that somebody else put there beforehand.
func ownedByUsAlone(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || info.Mode().Perm() != 0o700 || int(stat.Uid) != os.Getuid() {
		return fmt.Errorf("%s exists and is not a private directory of this user", dir)
	}
	return nil
}

func removeIfPresent(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
