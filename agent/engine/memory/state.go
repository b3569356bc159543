package memory

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"fleet.nationtech.io/agent/engine"
)

// advance reads the state file at first use, and lets happen what the clock says
// has happened since. It is called with the lock held.
func (m *Memory) advance() error {
	if !m.loaded {
		if err := m.load(); err != nil {
			return &engine.Error{Class: engine.ClassAway, Reason: engine.ReasonEngineAway, Err: err}
		}
		m.loaded = true
	}
	now := m.options.Now()
	for _, c := range m.containers {
		if name(c.Image) != FaultCrash || c.Observed.State != engine.StateRunning {
			continue
		}
		if at := c.Observed.StartedAt.Add(crashAfter); !at.After(now) {
			c.Observed.State, c.Observed.ExitCode, c.Observed.FinishedAt = engine.StateExited, 1, at
			if err := m.changed(c, "died"); err != nil {
				return err
			}
		}
	}
	return nil
}

// changed keeps what changed, and tells anyone who watches.
func (m *Memory) changed(c *container, action string) error {
	if err := m.save(); err != nil {
		return &engine.Error{Class: engine.ClassAway, Reason: engine.ReasonEngineAway, Err: err}
	}
	for _, w := range m.watchers {
		select {
		case w <- engine.Event{ContainerID: c.Observed.ID, Action: action}:
		default: // full: there is an event to wake the watcher already
		}
	}
	return nil
}

func (m *Memory) load() error {
	m.containers = map[string]*container{}
	if m.options.StateFile == "" {
		return nil
	}
	raw, err := os.ReadFile(m.options.StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("memory engine: %w", err)
	}
	if err := json.Unmarshal(raw, &m.containers); err != nil {
		return fmt.Errorf("memory engine: state file %s: %w", m.options.StateFile, err)
	}
	return nil
}

// save writes the state beside the file and renames it, so that a process killed
// at any moment leaves the old state or the new one.
func (m *Memory) save() error {
	if m.options.StateFile == "" {
		return nil
	}
	raw, err := json.Marshal(m.containers)
	if err != nil {
		return fmt.Errorf("memory engine: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(m.options.StateFile), 0o750); err != nil {
		return fmt.Errorf("memory engine: %w", err)
	}
	fresh := m.options.StateFile + ".new"
	if err := os.WriteFile(fresh, raw, 0o600); err != nil {
		return fmt.Errorf("memory engine: %w", err)
	}
	if err := os.Rename(fresh, m.options.StateFile); err != nil {
		return fmt.Errorf("memory engine: %w", err)
	}
	return nil
}
