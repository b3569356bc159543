package login

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/lockedfile"

	"fleet.nationtech.io/deploy/secretfile"
)

// cache is the file of one account's tokens. Each use of a refresh token ends it, so
// anyone who renews holds the lock and looks first whether another fleetctl did so.
type cache struct{ file string }

// newCache names the file by whose tokens it has.
func newCache(dir string, a Account, bearer string) cache {
	sum := sha256.Sum256([]byte(strings.Join([]string{a.Issuer, a.Project, bearer}, "\n")))
	return cache{filepath.Join(dir, hex.EncodeToString(sum[:10])+".json")}
}

// read fails with ErrLoggedOut where there are no tokens.
func (c cache) read() (Tokens, error) {
	var t Tokens
	b, err := os.ReadFile(c.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return t, ErrLoggedOut
	case err != nil:
		return t, fmt.Errorf("read the cached token: %w", err)
	}
	if err := json.Unmarshal(b, &t); err != nil {
		return t, fmt.Errorf("%w: the cached token in %s cannot be read", ErrLoggedOut, c.file)
	}
	return t, nil
}

func (c cache) write(t Tokens) error {
	b, err := json.Marshal(t)
	if err == nil {
		err = secretfile.Write(c.file, b)
	}
	if err != nil {
		return fmt.Errorf("cache the token: %w", err)
	}
	return nil
}

func (c cache) remove() error {
	err := os.Remove(c.file)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrLoggedOut
	}
	return err
}

// lock waits for other processes, and until the context ends.
func (c cache) lock(ctx context.Context) (unlock func(), err error) {
	const directoryMode = 0o700
	if err := os.MkdirAll(filepath.Dir(c.file), directoryMode); err != nil {
		return nil, fmt.Errorf("cache the token: %w", err)
	}
	type locked struct {
		unlock func()
		err    error
	}
	got := make(chan locked, 1)
	go func() {
		unlock, err := lockedfile.MutexAt(c.file + ".lock").Lock()
		got <- locked{unlock, err}
	}()
	select {
	case l := <-got:
		if l.err != nil {
			return nil, fmt.Errorf("lock the cached token: %w", l.err)
		}
		return l.unlock, nil
	case <-ctx.Done():
		go func() { // the system call cannot be called back
			if l := <-got; l.err == nil {
				l.unlock()
			}
		}()
		return nil, context.Cause(ctx)
	}
}
