package enroll

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
)

// The agent of a bundle is asked for once for all devices, by the bundle's name of the
// architecture, and is refused where it would not run there.
func TestTheAgentComesOutOfABundle(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self) // of this machine, which is amd64 or arm64
	if err != nil {
		t.Fatal(err)
	}
	asked := map[string]int{}
	b := &Binaries{Place: "the agent of fleet.bundle", Bundled: func(platform string) ([]byte, error) {
		asked[platform]++
		if platform == "linux/arm/v7" {
			return nil, errors.New("the bundle has no fleet-agent for linux/arm/v7")
		}
		return program, nil
	}}
	var runs, refused string
	for range 2 {
		for _, arch := range []string{"amd64", "arm64"} {
			found, err := b.For(arch)
			switch {
			case err == nil && bytes.Equal(found.Content, program) && len(found.Sum) == 64:
				runs = arch
			case err != nil && strings.Contains(err.Error(), "the agent of fleet.bundle is for "):
				refused = arch
			default:
				t.Errorf("%s: %v", arch, err)
			}
		}
	}
	if runs == "" || refused == "" || asked["linux/"+runs] != 1 {
		t.Errorf("it runs on %q and is refused on %q; asked %v", runs, refused, asked)
	}
	if _, err := b.For("arm"); err == nil || !strings.Contains(err.Error(), "no fleet-agent for linux/arm/v7") {
		t.Errorf("got %v", err)
	}
	empty := &Binaries{Place: t.TempDir()}
	if _, err := empty.For("amd64"); err == nil || !strings.Contains(err.Error(), empty.Place+" has neither fleet-agent-linux-amd64 nor fleet-agent") {
		t.Errorf("got %v", err)
	}
}
