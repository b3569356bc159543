package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
)

// ports are remembered, so that clients find a restarted fleet where it was.
type ports struct {
	NATS    int `json:"nats"`
	Metrics int `json:"metrics"`
}

func loadPorts(file string) (ports, error) {
	var p ports
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("remembered ports: %w", err)
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return ports{}, nil //nolint:nilerr // a torn file costs new ports, no more
	}
	return p, nil
}

func (p ports) save(file string) error {
	b, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("remember ports: %w", err)
	}
	if err := writeFile(file, b, 0o600); err != nil {
		return fmt.Errorf("remember ports: %w", err)
	}
	return nil
}

// listen opens the port that was asked for, else the remembered one if it is
// free, else any.
func listen(ctx context.Context, asked, remembered int) (net.Listener, error) {
	var lc net.ListenConfig
	if asked != 0 {
		l, err := lc.Listen(ctx, "tcp", loopback(asked))
		if err != nil {
			return nil, fmt.Errorf("port %d: %w", asked, err)
		}
		return l, nil
	}
	if remembered != 0 {
		if l, err := lc.Listen(ctx, "tcp", loopback(remembered)); err == nil {
			return l, nil
		}
	}
	l, err := lc.Listen(ctx, "tcp", loopback(0))
	if err != nil {
		return nil, fmt.Errorf("a free port: %w", err)
	}
	return l, nil
}

// pick finds a port that somebody else will open.
func pick(ctx context.Context, asked, remembered int) (int, error) {
	l, err := listen(ctx, asked, remembered)
	if err != nil {
		return 0, err
	}
	port := portOf(l)
	if err := l.Close(); err != nil {
		return 0, fmt.Errorf("port %d: %w", port, err)
	}
	return port, nil
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// writeFile writes a file whole or not at all.
func writeFile(file string, b []byte, mode os.FileMode) error {
	tmp := file + ".tmp"
	if err := os.WriteFile(tmp, b, mode); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}
