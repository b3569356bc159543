package dev

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"fleet.nationtech.io/deploy/accounts"
)

// A server that cannot start says why, and does not end the process.
func TestANATSServerThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", loopback(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	for name, test := range map[string]struct {
		spoil func(t *testing.T, dir string)
		port  int
		taken bool
	}{
		"its port was taken just then": {func(*testing.T, string) {}, portOf(taken), true},
		"its store is no directory": {func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "nats"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, -1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{DataDir: t.TempDir()}
			users, err := accounts.LoadUsers(o.path("passwords.json"), accounts.Names{Operator: userOperator, System: userSystem, Lab: userLab, People: []string{userPerson}})
			if err != nil {
				t.Fatal(err)
			}
			test.spoil(t, o.DataDir)
			s, err := startNATS(o, accounts.Server{Port: test.port}, users)
			if err == nil {
				s.Shutdown()
				t.Fatal("it started")
			}
			if portWasTaken(err) != test.taken {
				t.Errorf("it says %q", err)
			}
		})
	}
}
