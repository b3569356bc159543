package contexts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/jsm.go/natscontext"

	"fleet.nationtech.io/deploy/secretfile"
)

// ErrUnknown says that no context has a name.
var ErrUnknown = errors.New("there is no such context")

// Store is where contexts are: a file for each below fleet/contexts in the user's
// configuration directory, and those of the nats CLI below nats/context.
type Store struct {
	Dir     string // of the user's configuration
	NATSDir string // the same as the nats CLI has it
}

// Directories finds the user's configuration directory.
func Directories(getenv func(string) string) (Store, error) {
	if dir := getenv("XDG_CONFIG_HOME"); dir != "" {
		return Store{Dir: dir, NATSDir: dir}, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return Store{}, fmt.Errorf("find the user's configuration directory: %w", err)
	}
	s := Store{Dir: dir, NATSDir: dir}
	if home, err := os.UserHomeDir(); err == nil { // the nats CLI has it there on every system
		s.NATSDir = filepath.Join(home, ".config")
	}
	return s, nil
}

// TokensDir is where tokens are cached.
func (s Store) TokensDir() string { return filepath.Join(s.Dir, "fleet", "tokens") }

func (s Store) dir() string { return filepath.Join(s.Dir, "fleet", "contexts") }

func (s Store) file(name string) string { return filepath.Join(s.dir(), name+".json") }

func (s Store) selection() string { return filepath.Join(s.Dir, "fleet", "context") }

// List gives all contexts by name, the own ones first. A file that cannot be read is
// an error beside them.
func (s Store) List() ([]Context, error) {
	var all []Context
	var errs []error
	entries, err := os.ReadDir(s.dir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, e := range entries { // sorted by name
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || CheckName(name) != nil {
			continue
		}
		c, err := s.own(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, c)
	}
	names, err := natscontext.NewFileBackendAt(s.NATSDir).List(context.Background())
	if err != nil {
		errs = append(errs, fmt.Errorf("contexts of the nats CLI: %w", err))
	}
	slices.Sort(names)
	for _, name := range names {
		c, err := s.ofNATS(name, natscontext.WithoutExpansion())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, c)
	}
	return all, errors.Join(errs...)
}

// Names gives how each context may be named.
func (s Store) Names() []string {
	all, _ := s.List() // a file that cannot be read has no name to offer
	var names []string
	for _, c := range all {
		names = append(names, c.Ref())
	}
	return names
}

// Find gives a context by its name: an own one, else the nats CLI's. It fails with
// ErrUnknown.
func (s Store) Find(name string) (Context, error) {
	if of, ok := strings.CutPrefix(name, natsPrefix); ok {
		return s.ofNATS(of)
	}
	if err := CheckName(name); err != nil {
		return Context{}, err
	}
	c, err := s.own(name)
	if errors.Is(err, ErrUnknown) {
		return s.ofNATS(name)
	}
	return c, err
}

func (s Store) own(name string) (Context, error) {
	b, err := os.ReadFile(s.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return Context{}, fmt.Errorf("context %q: %w", name, ErrUnknown)
	}
	c := Context{Name: name, Origin: Own}
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return Context{}, fmt.Errorf("context %q: %s: %w", name, s.file(name), err)
	}
	return c, nil
}

// ofNATS reads a context of the nats CLI. Where that names a profile of nsc, this
// runs nsc, unless it is not to be expanded.
func (s Store) ofNATS(name string, o ...natscontext.RegistryOption) (Context, error) {
	// Without a selector, since an empty name must not mean the selected one.
	registry := natscontext.NewRegistry(natscontext.NewFileBackendAt(s.NATSDir), append(o, natscontext.WithoutSelection())...)
	if name == "" {
		return Context{}, fmt.Errorf("context %q: %w", natsPrefix, ErrUnknown)
	}
	n, err := registry.Load(context.Background(), name)
	switch {
	case errors.Is(err, natscontext.ErrNotFound):
		return Context{}, fmt.Errorf("context %q: %w", name, ErrUnknown)
	case err != nil:
		return Context{}, fmt.Errorf("context %q of the nats CLI: %w", name, err)
	}
	return Context{Name: name, Origin: NATS, URL: n.ServerURL(), CAFile: n.CA(), User: n.User(), CredsFile: n.Creds(), nats: n}, nil
}

// Save checks a context and writes it. Files that it names are found from anywhere
// later on.
func (s Store) Save(c Context) error {
	for _, file := range []*string{&c.CAFile, &c.KeyFile, &c.PasswordFile, &c.CredsFile} {
		if *file == "" {
			continue
		}
		whole, err := filepath.Abs(*file)
		if err != nil {
			return err
		}
		*file = whole
	}
	if err := c.Check(); err != nil {
		return err
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := secretfile.Write(s.file(c.Name), append(b, '\n')); err != nil {
		return fmt.Errorf("save context %q: %w", c.Name, err)
	}
	return nil
}

// Remove removes an own context. Where it was the selected one, none is then.
func (s Store) Remove(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	err := os.Remove(s.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("context %q: %w", name, ErrUnknown)
	}
	if err == nil && s.Selected() == name {
		err = os.Remove(s.selection())
	}
	if err != nil {
		return fmt.Errorf("remove context %q: %w", name, err)
	}
	return nil
}

// Select makes a context the one that is used where none is named.
func (s Store) Select(name string) (Context, error) {
	c, err := s.Find(name)
	if err != nil {
		return Context{}, err
	}
	if err := secretfile.Write(s.selection(), []byte(c.Ref()+"\n")); err != nil {
		return Context{}, fmt.Errorf("select context %q: %w", name, err)
	}
	return c, nil
}

// Selected is the name of the selected context; empty where there is none.
func (s Store) Selected() string {
	b, err := os.ReadFile(s.selection())
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
