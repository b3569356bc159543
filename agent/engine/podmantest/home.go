package podmantest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// prefix is what the directories of all homes begin with. It is short, as the
// paths of sockets are limited to 107 bytes.
const prefix = "fp-"

// ownerFile is locked by the process that a home is of, for as long as it lives.
const ownerFile = "owner"

// Home is where a Podman keeps all that it has: store, network, configuration.
type Home struct {
	Dir string
	// Env makes a podman process use it.
	Env []string
	// Network is the network of its containers; Subnet has its addresses, of which the
	// first is this machine's.
	Network string
	Subnet  netip.Prefix
	owner   *os.File
}

// NewHome makes one. It ends with the test, and its containers and images with
// it; a test that is killed leaves it to the next one, which takes it away.
func NewHome(t testing.TB, o Options) *Home {
	t.Helper()
	sweep(t)
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		t.Fatal(err)
	}
	n, err := furnish(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	h := &Home{Dir: dir, Env: environment(dir), Network: n.name, Subnet: n.subnet}
	if h.owner, err = own(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := clearAway(dir); err != nil {
			t.Logf("left behind: %v", err)
		}
		_ = h.owner.Close() // the lock goes with it
	})
	return h
}

func environment(dir string) []string {
	return []string{
		"CONTAINERS_CONF=" + filepath.Join(dir, "c.conf"), "CONTAINERS_STORAGE_CONF=" + filepath.Join(dir, "s.conf"),
		"CONTAINERS_REGISTRIES_CONF=" + filepath.Join(dir, "r.conf"),
	}
}

// furnish writes a home's configuration.
func furnish(dir string, o Options) (network, error) {
	n := freeNetwork()
	for file, text := range files(dir, o, n) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700); err != nil {
			return n, err
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			return n, err
		}
	}
	return n, nil
}

func files(dir string, o Options, n network) map[string]string {
	path := func(name string) string { return filepath.Join(dir, name) }
	conf := fmt.Sprintf(`[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
exit_command_delay = 1
tmp_dir = %q
%s
[network]
network_backend = "netavark"
network_config_dir = %q
default_network = %q
`, path("t"), ociRuntime(), path("n"), n.name)
	store := fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n", path("g"), path("r"))
	registries := "unqualified-search-registries = []\n"
	if o.Insecure != "" {
		registries += fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n", o.Insecure)
	}
	return map[string]string{"c.conf": conf, "s.conf": store, "r.conf": registries, "n/" + n.name + ".json": n.config(o.Internal)}
}

// network is a network of a home's own.
type network struct {
	name   string
	id     int
	subnet netip.Prefix
}

// freeNetwork chooses one. Stores don't know of each other's containers: on one bridge
// they would give two containers the same address, and under one name each would take
// the firewall's rules of the others away with its own. What the machine has already,
// be it left behind, is not taken again.
func freeNetwork() (n network) {
	for range 100 {
		id := rand.N(1 << 15)
		n = network{
			name: fmt.Sprintf("fp%04x", id), id: id,
			subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(100 + id>>8), byte(id), 0}), 24),
		}
		if !taken(n.name, n.subnet) {
			break
		}
	}
	return n
}

// config is the network's file <name>.json in a network_config_dir; the name is for
// default_network.
func (n network) config(internal bool) string {
	return fmt.Sprintf(`{"name":%q,"id":"%064x","driver":"bridge","network_interface":%q,
"subnets":[{"subnet":%q,"gateway":%q}],"ipv6_enabled":false,"internal":%t,"dns_enabled":false,
"ipam_options":{"driver":"host-local"}}`, n.name, n.id, n.name, n.subnet, n.subnet.Addr().Next(), internal)
}

// taken says whether the machine has an interface of that name or in that subnet.
func taken(name string, subnet netip.Prefix) bool {
	if _, err := net.InterfaceByName(name); err == nil {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false // then chance has to do
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Masked().Overlaps(subnet) {
			return true
		}
	}
	return false
}

// ociRuntime takes runc where there is one: crun refuses machines whose kernel
// has both versions of cgroups mounted.
func ociRuntime() string {
	if _, err := exec.LookPath("runc"); err != nil {
		return ""
	}
	return `runtime = "runc"`
}

// own makes a home this process's. The lock is held before the file has its name,
// so that nobody takes a home that is just being made for one left behind.
func own(dir string) (*os.File, error) {
	file := filepath.Join(dir, ownerFile)
	f, err := lock(file+".new", os.O_CREATE)
	if err != nil {
		return nil, err
	}
	return f, os.Rename(file+".new", file)
}

// lock locks a file. It fails where another process has it.
func lock(file string, flag int) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// once makes each process look for what others left behind one time.
var once sync.Once

// sweep takes away what tests left behind that were killed: containers that hold
// ports, and rules of the firewall that send other ports' connections to them.
func sweep(t testing.TB) {
	t.Helper()
	once.Do(func() { sweepIn(t, os.TempDir()) })
}

func sweepIn(t testing.TB, parent string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(parent, prefix+"*", ownerFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, owner := range left {
		dir := filepath.Dir(owner)
		f, err := lock(owner, 0)
		if err != nil {
			continue // its owner lives
		}
		if err := clearAway(dir); err != nil {
			t.Logf("what a killed test left behind cannot be taken away: %v", err)
		} else {
			t.Logf("took away %s, which a killed test left behind", dir)
		}
		_ = f.Close()
	}
}

// clearAway removes a home with all that is in it. Without its configuration a
// podman would take the machine's own store; then there is nothing of the home's
// to remove but files.
func clearAway(dir string) error {
	for _, kv := range environment(dir) {
		_, file, _ := strings.Cut(kv, "=")
		if _, err := os.Stat(file); err != nil {
			return os.RemoveAll(dir)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for _, args := range [][]string{{"rm", "-f", "-a", "-t", "0"}, {"rmi", "-f", "-a"}} {
		cmd := exec.CommandContext(ctx, "podman", args...)
		cmd.Env = append(os.Environ(), environment(dir)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("podman %v in %s: %w: %s", args, dir, err, out)
		}
	}
	_ = syscall.Unmount(filepath.Join(dir, "g", "overlay"), syscall.MNT_DETACH) // is it mounted at all?
	return os.RemoveAll(dir)
}
