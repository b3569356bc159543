package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"fleet.nationtech.io/deploy/secretfile"
)

// ports are remembered, so that clients find a restarted fleet where it was.
type ports struct {
	NATS     int `json:"nats"`
	Metrics  int `json:"metrics"`
	Provider int `json:"provider,omitempty"` // its address is its name, which devices are configured with

	WebSocket int `json:"websocket,omitempty"` // of the NATS server

	Prometheus int `json:"prometheus,omitempty"`
	Dashboard  int `json:"dashboard,omitempty"`
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
	if err := secretfile.Write(file, b); err != nil {
		return fmt.Errorf("remember ports: %w", err)
	}
	return nil
}

// listen opens the port that was asked for, else the remembered one if it is
// free, else any that connections arrive at.
func listen(ctx context.Context, asked, remembered int) (net.Listener, error) {
	if asked != 0 {
		l, err := open(ctx, asked)
		if err != nil {
			return nil, fmt.Errorf("port %d: %w", asked, err)
		}
		return l, nil
	}
	if remembered != 0 {
		if l, err := open(ctx, remembered); err == nil {
			return l, nil
		}
	}
	var errs []error
	for range 20 {
		l, err := open(ctx, 0)
		if err == nil {
			return l, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("a free port: %w", errors.Join(errs...))
}

// errElsewhere says that a port is free and yet of no use.
var errElsewhere = errors.New("connections to it do not arrive here: a firewall rule of this machine sends them elsewhere, as containers that ended by force leave behind (iptables -t nat -S shows it); take another port")

// open opens a port (0 for any) on the loopback, and makes sure that connections
// arrive.
func open(ctx context.Context, port int) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", loopback(port))
	if err != nil {
		return nil, err
	}
	if arrives(ctx, l.(*net.TCPListener)) {
		return l, nil
	}
	return nil, errors.Join(fmt.Errorf("port %d: %w", portOf(l), errElsewhere), l.Close())
}

// arrives connects to a listener and sees whether it was that which was reached.
func arrives(ctx context.Context, l *net.TCPListener) bool {
	const most = time.Second
	c, err := (&net.Dialer{Timeout: most}).DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return false
	}
	defer c.Close()
	if l.SetDeadline(time.Now().Add(most)) != nil {
		return false
	}
	for { // a stranger's connection may come first
		got, err := l.Accept()
		if err != nil {
			return false
		}
		_ = got.Close()
		if got.RemoteAddr().String() == c.LocalAddr().String() {
			return l.SetDeadline(time.Time{}) == nil
		}
	}
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
