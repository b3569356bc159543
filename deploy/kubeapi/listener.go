package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/klog/v2"
)

const (
	portFile      = "port"
	freeTries     = 20
	arriveTimeout = time.Second
)

// listen opens the API's port on the loopback interface. A wanted port must be
// had; with none wanted, the one remembered in dir is taken again if it is still
// free, so that clients which hold the address find the server after a restart,
// and else a free one that connections arrive at.
func listen(dir string, wanted int) (net.Listener, int, error) {
	listener, err := choose(dir, wanted)
	if err != nil {
		return nil, 0, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := writeFileAtomically(filepath.Join(dir, portFile), []byte(strconv.Itoa(port)+"\n")); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("remember port: %w", err), listener.Close())
	}
	return listener, port, nil
}

func choose(dir string, wanted int) (net.Listener, error) {
	if wanted != 0 {
		listener, err := net.Listen("tcp", loopback(wanted))
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("port %d is in use by another process; stop that, or give another --port", wanted)
		}
		if err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		return listener, nil
	}
	var errs []error
	for _, port := range append([]int{rememberedPort(dir)}, make([]int, freeTries)...) {
		listener, err := net.Listen("tcp", loopback(port))
		if err == nil && arrives(listener) {
			return listener, nil
		}
		if err == nil {
			err = errors.Join(fmt.Errorf("connections to %s don't arrive", listener.Addr()), listener.Close())
		}
		klog.InfoS("A port can't be had; taking a free one", "port", port, "err", err)
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("listen: %w", errors.Join(errs...))
}

// arrives says whether a connection to a listener reaches it. It does not where a
// firewall rule sends it elsewhere, as containers that ended by force leave behind.
func arrives(listener net.Listener) bool {
	conn, err := net.DialTimeout("tcp", listener.Addr().String(), arriveTimeout)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	l, ok := listener.(*net.TCPListener)
	if !ok || l.SetDeadline(time.Now().Add(arriveTimeout)) != nil {
		return false
	}
	for { // a stranger's connection may come first
		got, err := l.Accept()
		if err != nil {
			return false
		}
		_ = got.Close()
		if got.RemoteAddr().String() == conn.LocalAddr().String() {
			return l.SetDeadline(time.Time{}) == nil
		}
	}
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// rememberedPort returns 0 when there is none: a file that is absent or spoiled
// only costs the stable address.
func rememberedPort(dir string) int {
	content, err := os.ReadFile(filepath.Join(dir, portFile))
	if err != nil {
		return 0
	}
	port, err := strconv.ParseUint(strings.TrimSpace(string(content)), 10, 16)
	if err != nil {
		return 0
	}
	return int(port)
}
