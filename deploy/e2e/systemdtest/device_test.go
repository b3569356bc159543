//go:build e2e

package systemdtest_test

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"fleet.nationtech.io/deploy/e2e/systemdtest"
)

// A device is what an enrolment finds at a customer's: blank, reached by SSH, with a
// Podman that works; and each fault that tests make of it can be undone.
func TestADeviceIsARealMachine(t *testing.T) {
	t.Parallel()
	lab := systemdtest.New(t)
	all := lab.Start("alpha", "beta")
	alpha, beta := all[0], all[1]

	if a, b := alpha.Run("cat /etc/machine-id"), beta.Run("cat /etc/machine-id"); a == b || a == "" {
		t.Errorf("machine ids %q and %q", a, b)
	}
	if out := alpha.Run("systemctl is-system-running"); out != "running" {
		t.Errorf("the system is %s: %s", out, alpha.Run("systemctl --failed --no-legend"))
	}
	if out, err := login(t, lab, alpha, "hostname && sudo -n id -u"); err != nil || out != "alpha\n0\n" {
		t.Errorf("by SSH: %q, %v", out, err)
	}
	alpha.RequirePassword("secret")
	if out, err := login(t, lab, alpha, "sudo -n true; echo secret | sudo -S -p '' id -u"); err != nil || !strings.HasSuffix(out, "\n0\n") {
		t.Errorf("sudo with a password: %q, %v", out, err)
	}

	t.Run("its own Podman runs containers", func(t *testing.T) {
		d := beta.In(t)
		d.Run("tar -h -C / -c usr/bin/sleep $(ldd /usr/bin/sleep | grep -o '/[^ ]*') | podman import --quiet - localhost/sleep:1")
		d.Run("podman run -d --name one localhost/sleep:1 /usr/bin/sleep 1000")
		if out := d.Run("podman ps --format '{{.Names}}'"); out != "one" {
			t.Errorf("containers %q: %s", out, d.Run("podman ps -a; podman logs one"))
		}
		d.Run("podman rm -f -t 0 one")
	})
	t.Run("a reboot and a network that is away", func(t *testing.T) {
		d := beta.In(t)
		before := d.Files()
		d.CutNetwork()
		d.Reboot()
		if _, err := net.DialTimeout("tcp", d.SSH(), time.Second); err == nil {
			t.Error("the network is back after a reboot")
		}
		d.RestoreNetwork()
		if out, err := login(t, lab, d, "hostname"); err != nil || out != "beta\n" {
			t.Errorf("by SSH after the reboot: %q, %v", out, err)
		}
		if diff := cmp.Diff(before, d.Files()); diff != "" {
			t.Errorf("a reboot changed files (-before +after):\n%s", diff)
		}
	})
	t.Run("a full disk, no Podman, another architecture and another clock", func(t *testing.T) {
		d := alpha.In(t)
		before := d.Files()
		const dir = "/usr/local/bin"
		d.FillDisk(dir)
		if out, err := d.Try("echo more than fits >" + dir + "/file"); err == nil {
			t.Errorf("there is room on a full disk: %s", out)
		}
		d.FreeDisk(dir)
		d.Hide("/usr/bin/podman")
		if _, err := d.Try("podman --version"); err == nil {
			t.Error("podman is there")
		}
		d.Restore("/usr/bin/podman")
		d.Pretend("uname", "echo mips")
		d.Pretend("date", `exec /usr/bin/date -d "2 years ago" "$@"`)
		out, err := login(t, lab, d, "uname -m; date +%Y")
		if want := "mips\n" + time.Now().UTC().AddDate(-2, 0, 0).Format("2006") + "\n"; err != nil || out != want {
			t.Errorf("got %q, %v, want %q", out, err, want)
		}
		d.StopPretending("uname")
		d.StopPretending("date")
		if diff := cmp.Diff(before, d.Files()); diff != "" {
			t.Errorf("undone faults left something (-before +after):\n%s", diff)
		}
	})
}

// login runs a command by SSH.
func login(t *testing.T, lab *systemdtest.Lab, d *systemdtest.Device, command string) (string, error) {
	t.Helper()
	pem, err := os.ReadFile(lab.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(d.HostKey))
	if err != nil {
		t.Fatal(err)
	}
	client, err := ssh.Dial("tcp", d.SSH(), &ssh.ClientConfig{
		User: systemdtest.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(key), Timeout: 20 * time.Second,
	})
	if err != nil {
		return "", err
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	out, err := session.CombinedOutput(command)
	return string(out), err
}
