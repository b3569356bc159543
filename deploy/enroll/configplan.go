package enroll

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"fleet.nationtech.io/agent/config"
)

const privateMode = "-rw------- 0"

func planConfig(f Facts, w Wish) Step {
	want, err := w.configFile()
	if err != nil {
		return refuse(StepConfig, "", "%v", err)
	}
	path := config.DefaultPath
	if f.Config == nil {
		return change(StepConfig, "%s is written", path)
	}
	is, parseErr := config.Parse(f.Config)
	if is.DeviceID != "" && is.DeviceID != w.ID {
		return refuse(StepConfig, "fleetctl unenroll that device first, or enrol this one with --id "+is.DeviceID,
			"this machine is device %s already", is.DeviceID)
	}
	same := bytes.Equal(f.Config, want)
	s := Step{Name: StepConfig, Diff: configDiff(path, f.Config, want)}
	switch {
	case same && strings.HasPrefix(f.ConfigMode, "-rw------- ") && strings.HasSuffix(f.ConfigMode, " 0"):
		return ok(StepConfig, "%s", path)
	case same:
		return change(StepConfig, "%s becomes root's alone (0600)", path)
	case untouched(f.Config):
		s.State, s.Detail = Change, path+" is brought up to date"
	case w.OverwriteConfig:
		s.State, s.Detail = Change, path+" is replaced; a person had changed it"
	case parseErr != nil:
		s.State, s.Detail, s.Try = Refused, fmt.Sprintf("%s was changed by hand and is not valid: %v", path, parseErr), "correct it on the device, or give --overwrite-config"
	case unlike(is.Auth, w.config().Auth) != "":
		s.State, s.Detail = Refused, fmt.Sprintf("%s was changed by hand, and its %s is not the one of this enrolment", path, unlike(is.Auth, w.config().Auth))
		s.Try = "correct it on the device, or give --overwrite-config; or enrol with what it says"
	default:
		s.State, s.Detail = Kept, path+" differs, and was changed by hand: it is kept (--overwrite-config replaces it)"
	}
	return s
}

// unlike names what decides by which identity the agent gets in, where two
// configurations differ in it: an enrolment that gives the device another identity than
// its agent uses would lock it out.
func unlike(is, want config.Auth) string {
	switch {
	case is.Mode != want.Mode:
		return "auth.mode"
	case is.Mode == config.ModeShared:
		return ""
	case is.KeyFile != want.KeyFile:
		return "auth.key_file"
	case is.Issuer != want.Issuer:
		return "auth.issuer"
	}
	return ""
}

var password = regexp.MustCompile(`(?s)(password["']?\s*=\s*)("""(?:.*?)"""|\x27\x27\x27(?:.*?)\x27\x27\x27|[^\n]*)`)

// configDiff is in what two configurations differ, without their passwords and without
// the first line, which has the checksum.
func configDiff(path string, is, want []byte) string {
	clean := func(text []byte) []byte {
		if bytes.HasPrefix(text, []byte(headerStart)) {
			_, text, _ = bytes.Cut(text, []byte("\n"))
		}
		return text
	}
	is, want = clean(is), clean(want)
	now, then := `"(hidden)"`, `"(hidden)"`
	if !bytes.Equal(password.Find(is), password.Find(want)) {
		then = `"(hidden, another one)"`
	}
	hide := func(text []byte, by string) []byte { return password.ReplaceAll(text, []byte("${1}"+by)) }
	return string(diff.Diff(path, hide(is, now), path+" as wished", hide(want, then)))
}
