package clustertest

import (
	"os"
	"path/filepath"
	"testing"

	"fleet.nationtech.io/eventlog/needs"
)

// packages are what Debian calls the programs that a node takes.
const packages = "apt-get install containerd runc containernetworking-plugins iptables nftables conntrack iproute2 util-linux"

// require ends the test where this machine cannot run a node, and gives the directory of
// the programs that make builds.
func require(t testing.TB) (binaries string) {
	t.Helper()
	if os.Getuid() != 0 {
		needs.Missing(t, "a test node needs root")
	}
	for _, program := range []string{"containerd", "ctr", "runc", "iptables", "nft", "conntrack", "ip", "unshare", "nsenter", "setpriv"} {
		needs.Program(t, program, packages)
	}
	if _, err := os.Stat("/usr/lib/cni/bridge"); err != nil {
		needs.Missing(t, "there are no CNI plugins: %s", packages)
	}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		needs.Missing(t, "a test node needs control groups of version 1, and this machine has version 2: boot it with systemd.unified_cgroup_hierarchy=0")
	}
	binaries, err := filepath.Abs(filepath.Join("..", "..", "..", "bin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"kubenode", "coredns", "pause"} {
		if _, err := os.Stat(filepath.Join(binaries, program)); err != nil {
			needs.Missing(t, "there is no bin/%s: run make bin/%s", program, program)
		}
	}
	return binaries
}
