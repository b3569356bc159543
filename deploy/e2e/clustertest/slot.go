package clustertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// slots is how many nodes a machine has names and addresses for.
const slots = 8

// slot is what of the machine one node has for itself: names, and the addresses of the
// link between the two. A lock keeps others from it for as long as the node lives.
type slot struct {
	number int
	lock   *os.File
}

// takeSlot takes one that is free.
func takeSlot() (*slot, error) {
	for number := range slots {
		s := &slot{number: number}
		file := filepath.Join("/run", s.name()+".lock")
		lock, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			if err := errors.Join(lock.Close()); err != nil {
				return nil, err
			}
			continue
		}
		s.lock = lock
		return s, nil
	}
	return nil, fmt.Errorf("%d test nodes run on this machine already; see which processes hold /run/fleet-node-*.lock: fuser /run/fleet-node-*.lock", slots)
}

func (s *slot) release() error { return s.lock.Close() } // the lock goes with it

func (s *slot) name() string { return "fleet-node-" + strconv.Itoa(s.number) }

// link is the name of the machine's end of the link.
func (s *slot) link() string { return "fleetnode" + strconv.Itoa(s.number) }

func (s *slot) gateway() netip.Addr { return netip.AddrFrom4([4]byte{10, 245, byte(s.number), 1}) }

func (s *slot) address() netip.Addr { return s.gateway().Next() }

func (s *slot) network() netip.Prefix { return netip.PrefixFrom(s.gateway(), 30).Masked() }

// metric tells the slot's routes from those of the others.
func (s *slot) metric() string { return strconv.Itoa(4000 + s.number) }

// leftovers says what of the slot's node is left on the machine.
func (s *slot) leftovers() error {
	var errs []error
	groups, err := filepath.Glob(filepath.Join("/sys/fs/cgroup/*", s.name()))
	for _, group := range groups {
		errs = append(errs, fmt.Errorf("left on the machine: the control group %s", group))
	}
	errs = append(errs, err)
	mounts, err := os.ReadFile("/proc/self/mounts")
	if bytes.Contains(mounts, []byte(s.name())) {
		errs = append(errs, fmt.Errorf("left on the machine: a mount with %s in its path", s.name()))
	}
	errs = append(errs, err)
	for what, args := range map[string][]string{"an interface": {"-o", "link", "show"}, "a route": {"route", "show", "table", "all"}} {
		out, err := exec.CommandContext(context.Background(), "ip", args...).Output()
		errs = append(errs, err)
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, s.link()) || strings.Contains(line, "metric "+s.metric()) {
				errs = append(errs, fmt.Errorf("left on the machine: %s: %s", what, strings.TrimSpace(line)))
			}
		}
	}
	return errors.Join(append(errs, s.processes())...)
}

// processes names the processes that speak of the node in their command lines.
func (s *slot) processes() error {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	var errs []error
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err == nil && filepath.Dir(file) != "/proc/"+strconv.Itoa(os.Getpid()) && bytes.Contains(line, []byte(s.name())) {
			errs = append(errs, fmt.Errorf("left on the machine: the process %s: %s", filepath.Base(filepath.Dir(file)), bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return errors.Join(errs...)
}
