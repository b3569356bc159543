package packages_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fleet.nationtech.io/deploy/enroll/unit"
	"fleet.nationtech.io/deploy/packages"
	"fleet.nationtech.io/deploy/packages/pkgfile"
)

// moved runs a postinst, with a folder in the place of /etc/systemd, on a device whose
// agent an enrolment by the binary installed. It gives the link by which the unit is
// enabled, and what systemctl and Debian's helpers were told.
func moved(t *testing.T, f pkgfile.Format, version string, enabled bool) (link, told string) {
	t.Helper()
	root := t.TempDir()
	etc := filepath.Join(root, "etc")
	written, wanted := filepath.Join(etc, "system", unit.Name), filepath.Join(etc, "system", "multi-user.target.wants", unit.Name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(wanted), 0o755), os.WriteFile(written, unit.Enrolled(), 0o600)); err != nil {
		t.Fatal(err)
	}
	if enabled {
		if err := os.Symlink(unit.Path, wanted); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(root, "log")
	for _, name := range []string{"systemctl", "deb-systemd-helper", "deb-systemd-invoke"} {
		text := "#!/bin/sh\necho \"$*\" >>" + log + "\n"
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script := strings.ReplaceAll(string(packages.Script(f, "postinst")), "/etc/systemd", etc)
	args := map[pkgfile.Format][]string{pkgfile.Deb: {"configure", version}, pkgfile.RPM: {version}}[f]
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-s"}, args...)...)
	cmd.Stdin, cmd.Env = strings.NewReader(script), append(os.Environ(), "PATH="+root+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "the package's unit takes its place") {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := os.Lstat(written); err == nil {
		t.Error("the unit of the enrolment is left")
	}
	link, _ = os.Readlink(wanted) // empty: it is not enabled
	text, err := os.ReadFile(log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return link, string(text)
}

// A package that comes to an enrolled device leaves its unit enabled, or disabled.
func TestWhetherTheUnitIsEnabledStaysAsItWas(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		format  pkgfile.Format
		version string
	}{
		"a deb, installed":  {pkgfile.Deb, ""},
		"a deb, upgraded":   {pkgfile.Deb, "1.0.0-1"},
		"an rpm, installed": {pkgfile.RPM, "1"},
		"an rpm, upgraded":  {pkgfile.RPM, "2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if link, told := moved(t, test.format, test.version, true); link != unit.PackagedPath {
				t.Errorf("it was enabled, and its link leads to %q\n%s", link, told)
			}
			link, told := moved(t, test.format, test.version, false)
			for line := range strings.Lines(told) {
				if verb, _, _ := strings.Cut(line, " "); verb == "enable" || verb == "reenable" || verb == "preset" || strings.Contains(line, " preset ") {
					t.Errorf("it was disabled, and is enabled by %q", line)
				}
			}
			if link != "" {
				t.Errorf("it was disabled, and is enabled by a link to %s", link)
			}
		})
	}
}
