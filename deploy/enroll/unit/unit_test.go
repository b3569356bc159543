package unit_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/enroll/unit"
)

// Devices that were enrolled before compare their unit with this one: where it changes,
// their agents are restarted by the next enrolment.
func TestTheEnrolledUnitIsTheOneOfEarlierReleases(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256(unit.Enrolled())
	if got, want := hex.EncodeToString(sum[:]), "762ab3fd345be9f572fd5894c3d55fa1a311a42cc347d86ea0bb5ef00d9b925b"; got != want {
		t.Errorf("the unit changed (sha256 %s): where that is meant, write it here", got)
	}
}

func TestThePackagedUnitDiffersInWhereItComesFromAlone(t *testing.T) {
	t.Parallel()
	want := []string{
		"-# Written by fleetctl enroll. Changes belong into a drop-in: systemctl edit fleet-agent",
		"-ExecStart=/usr/local/bin/fleet-agent",
		"+# Part of the package fleet-agent. Changes belong into a drop-in: systemctl edit fleet-agent",
		"+Documentation=man:fleet-agent(8) man:fleet-agent.toml(5)",
		"+# A device that is not enrolled yet has nothing to start.",
		"+ConditionPathExists=/etc/fleet-agent/config.toml",
		"+ExecStart=/usr/bin/fleet-agent",
	}
	enrolled, packaged := lines(unit.Enrolled()), lines(unit.Packaged())
	got := append(missing("-", enrolled, packaged), missing("+", packaged, enrolled)...)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func lines(text []byte) []string { return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") }

// missing are the lines of one text that another one has not.
func missing(mark string, of, in []string) []string {
	has := map[string]bool{}
	for _, l := range in {
		has[l] = true
	}
	var all []string
	for _, l := range of {
		if !has[l] {
			all = append(all, mark+l)
		}
	}
	return all
}
