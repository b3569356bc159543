package dev

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"fleet.nationtech.io/eventlog/needs"
)

// A rule that sends a port's connections elsewhere, as containers that ended by
// force leave behind, makes it unusable though it is free.
func TestAPortIsFreeOnlyIfConnectionsArrive(t *testing.T) {
	l, err := listen(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	port := portOf(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := listen(t.Context(), 0, port)
	if err != nil || portOf(again) != port {
		t.Fatalf("the remembered port %d is free, and was not taken: %v", port, err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}

	needs.Program(t, "iptables", "apt-get install iptables")
	if os.Geteuid() != 0 {
		needs.Missing(t, "iptables redirects a port for root only: run the tests as root")
	}
	elsewhere, err := net.Listen("tcp", loopback(0))
	if err != nil {
		t.Fatal(err)
	}
	other := portOf(elsewhere)
	if err := elsewhere.Close(); err != nil { // nobody answers there
		t.Fatal(err)
	}
	rule := []string{"OUTPUT", "-d", "127.0.0.1", "-p", "tcp", "--dport", strconv.Itoa(port), "-j", "DNAT", "--to-destination", loopback(other)}
	if out, err := exec.Command("iptables", append([]string{"-t", "nat", "-I"}, rule...)...).CombinedOutput(); err != nil {
		needs.Missing(t, "iptables cannot redirect a port here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("iptables", append([]string{"-t", "nat", "-D"}, rule...)...).CombinedOutput(); err != nil {
			t.Errorf("iptables: %v: %s", err, out)
		}
	})
	if _, err := listen(t.Context(), port, 0); !errors.Is(err, errElsewhere) {
		t.Errorf("the port that was asked for: %v, want %v", err, errElsewhere)
	}
	l, err = listen(t.Context(), 0, port)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if portOf(l) == port {
		t.Errorf("port %d was taken, which nobody reaches", port)
	}
}
