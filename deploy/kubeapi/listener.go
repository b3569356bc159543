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

	"k8s.io/klog/v2"
)

const portFile = "port"

// listen opens the API's port on the loopback interface. A wanted port must be
// had; with none wanted, the one remembered in dir is taken again if it is still
// free, so that clients which hold the address find the server after a restart,
// and else a free one.
func listen(dir string, wanted int) (net.Listener, int, error) {
	port := wanted
	if port == 0 {
		port = rememberedPort(dir)
	}
	listener, err := net.Listen("tcp", loopback(port))
	if errors.Is(err, syscall.EADDRINUSE) && wanted != 0 {
		return nil, 0, fmt.Errorf("port %d is in use by another process; stop that, or give another --port", wanted)
	}
	if err != nil && wanted == 0 && port != 0 {
		klog.InfoS("The remembered port can't be had; taking a free one", "port", port, "err", err)
		listener, err = net.Listen("tcp", loopback(0))
	}
	if err != nil {
		return nil, 0, fmt.Errorf("listen: %w", err)
	}
	port = listener.Addr().(*net.TCPAddr).Port
	if err := writeFileAtomically(filepath.Join(dir, portFile), []byte(strconv.Itoa(port)+"\n")); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("remember port: %w", err), listener.Close())
	}
	return listener, port, nil
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
