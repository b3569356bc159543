package enroll

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/deploy/enroll/machine"
	"fleet.nationtech.io/deploy/enroll/unit"
)

// packagedSum is of the program in the package of these tests.
const packagedSum = "sum-of-the-packaged-agent"

// errCut is what a world says that is broken off.
var errCut = errors.New("cut")

// world is a device, the provider and the fleet, in memory. At the call of number
// breakAt everything stops, before the call or after it.
type world struct {
	probe map[string]string // what the probe says, beside what follows from the rest

	files      map[string]string
	modes      map[string]uint32
	etc        bool
	pending    bool
	keyID      string
	keyUser    string
	keyExpires string
	owed       bool
	active     bool
	enabled    bool
	socket     bool
	invocation int
	pkg        string // the version of the agent's package
	journal    []string

	user      User
	nextID    int
	known     bool
	elsewhere bool // another machine answers under the id

	calls     int
	breakAt   int // 0: never
	after     bool
	log       []string // what was changed, in order
	seen      []string // scripts and arguments
	agentSays string
	deaf      bool // the agent does not answer
	crashed   bool
}

func newWorld() *world {
	return &world{files: map[string]string{}, modes: map[string]uint32{}, user: User{Standing: UserNone}, probe: map[string]string{
		"kernel": "Linux", "machine": "aarch64", "hostname": "pi", "os": "Debian 12", "systemd": "systemd 252",
		"podman": "podman version 4.3.1",
	}}
}

// call counts a call that changes something, and does it.
func (w *world) call(what string, do func()) error {
	w.calls++
	if w.calls == w.breakAt && !w.after {
		return errCut
	}
	do()
	w.log = append(w.log, what)
	if w.calls == w.breakAt {
		return errCut
	}
	return nil
}

var _ machine.Machine = (*world)(nil)

func (w *world) String() string { return "pi@device" }
func (w *world) Close() error   { return nil }

func (w *world) ReadFile(context.Context, string) ([]byte, error) { return nil, machine.ErrNoFile }

func (w *world) WriteFile(_ context.Context, f machine.File) error {
	return w.call("write "+f.Path, func() {
		w.files[f.Path], w.modes[f.Path] = string(f.Content), f.Mode
		if strings.HasSuffix(f.Path, "zitadel-key.json") {
			w.keyID, w.keyUser = "made-before", "pi-01"
		}
	})
}

func (w *world) Run(_ context.Context, c machine.Command) (machine.Result, error) {
	w.seen = append(w.seen, c.Script+" "+strings.Join(c.Args, " "))
	var out string
	var err error
	switch {
	case c.Script == ":":
	case c.Script == probeScript:
		out = w.answer()
	case c.Script == tellScript:
		w.journal = append(w.journal, string(c.Stdin))
	case c.Script == unitScript:
		state, status := "active", "0"
		if !w.active {
			state = "inactive"
		}
		if w.crashed {
			state, status = "failed", exitConfig
		}
		out = fmt.Sprintf("ActiveState=%s\nSubState=running\nExecMainStatus=%s\nInvocationID=%d\n", state, status, w.invocation)
	case c.Script == installScript:
		err = w.call("dpkg -i", func() {
			delete(w.files, packagePath)
			w.pkg, w.enabled = "2-1", true
			w.probe["packaged_sum"] = packagedSum
			if w.active {
				w.invocation++
			}
		})
	case c.Script == unhideScript:
		err = w.call("unhide", func() { delete(w.files, unit.Path) })
	case strings.HasSuffix(c.Script, "# the former agent"):
		err = w.call("former", func() { delete(w.files, unit.AgentPath) })
	case strings.HasPrefix(c.Script, "journalctl"):
		out = w.agentSays
	case strings.Contains(c.Script, "key create"):
		err = w.call("key create", func() { w.pending = true })
		out = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("half")}))
	case strings.Contains(c.Script, "key adopt"):
		err = w.call("key adopt", func() {
			w.pending, w.keyID, w.keyUser, w.keyExpires = false, c.Args[1], c.Args[2], c.Args[3]
		})
	case strings.Contains(c.Script, "key show"):
		out = fmt.Sprintf("{\"key_id\":%q}\n", w.keyID)
	case strings.Contains(c.Script, "--version"):
		out = "v2\ncommit 80805f9, go1.26, linux/arm64\n"
	case strings.Contains(c.Script, "podman.socket"):
		err = w.call("podman.socket", func() { w.socket = true })
	case strings.Contains(c.Script, "mkdir"):
		err = w.call("mkdir", func() { w.etc = true })
	case strings.HasPrefix(c.Script, ": >"):
		err = w.call("owe", func() { w.owed = true })
	case strings.Contains(c.Script, "--no-block"):
		out = fmt.Sprintf("@@InvocationID=%d\n", w.invocation)
		err = w.call("restart", func() { w.active, w.enabled, w.owed, w.known = true, true, false, true; w.invocation++ })
	default:
		return machine.Result{}, fmt.Errorf("an unknown script: %s", c.Script)
	}
	return machine.Result{Stdout: []byte(out)}, err
}

// answer is what the probe says.
func (w *world) answer() string {
	said := map[string]string{"date": fmt.Sprint(epoch.Unix())}
	for k, v := range w.probe {
		said[k] = v
	}
	for path, name := range map[string]string{"/etc/fleet-agent/config.toml": "config", caPath: "ca", providerCAPath: "provider_ca", unit.Path: "unit"} {
		if content, ok := w.files[path]; ok {
			said[name] = content
		}
	}
	if agent, ok := w.files[unit.AgentPath]; ok {
		sum := sha256.Sum256([]byte(agent))
		said["agent_sum"], said["agent_version"] = hex.EncodeToString(sum[:]), "v2"
	}
	if w.pkg != "" {
		said["package"] = w.pkg
	}
	if w.etc {
		said["etc_mode"] = "drwx------ 0"
	}
	if m, ok := w.modes["/etc/fleet-agent/config.toml"]; ok && m == 0o600 {
		said["config_mode"] = privateMode
	}
	if w.keyID != "" {
		said["key_id"], said["key_user"], said["key_expires"], said["key_mode"] = w.keyID, w.keyUser, w.keyExpires, privateMode
	}
	if w.pending {
		said["key_pending"] = "yes"
	}
	if w.owed {
		said["restart_owed"] = "yes"
	}
	pick := func(is bool, yes, no string) string {
		if is {
			return yes
		}
		return no
	}
	said["service"] = fmt.Sprintf("ActiveState=%s\nUnitFileState=%s\nInvocationID=%d", pick(w.active, "active", "inactive"), pick(w.enabled, "enabled", "disabled"), w.invocation)
	said["podman_socket"] = "LoadState=loaded\nActiveState=" + pick(w.socket, "active", "inactive") + "\nUnitFileState=" + pick(w.socket, "enabled", "disabled")
	text := "Welcome to pi!\n" + probeMark + "\n"
	for k, v := range said {
		text += fmt.Sprintf("%s %d\n%s\n", k, len(v), v)
	}
	return text
}

var epoch = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// theProvider is the world's provider.
type theProvider struct{ *world }

func (p theProvider) LookUp(context.Context, string) (User, error) {
	u := p.user
	u.Keys = slices.Clone(u.Keys)
	return u, nil
}

func (p theProvider) EnsureDevice(context.Context, string, string) error {
	return p.call("ensure user", func() { p.user.Standing, p.user.Active, p.user.JWT = UserOurs, true, true })
}

func (p theProvider) AddKey(_ context.Context, _ string, _ []byte, expires time.Time) (string, error) {
	id := ""
	err := p.call("add key", func() {
		p.nextID++
		id = fmt.Sprintf("key-%d", p.nextID)
		p.user.Keys = append(p.user.Keys, UserKey{ID: id, Expires: expires})
	})
	return id, err
}

func (p theProvider) RemoveKey(_ context.Context, _, key string) error {
	return p.call("remove "+key, func() {
		p.user.Keys = slices.DeleteFunc(p.user.Keys, func(k UserKey) bool { return k.ID == key })
	})
}

func (p theProvider) Deactivate(context.Context, string) error {
	return p.call("deactivate", func() { p.user.Active = false })
}

func (p theProvider) Delete(context.Context, string) error {
	return p.call("delete", func() { p.user = User{Standing: UserNone} })
}

// theFleet is the world's fleet.
type theFleet struct{ *world }

func (f theFleet) Standing(context.Context, string) (FleetDevice, error) {
	return FleetDevice{Known: f.known}, nil
}

func (f theFleet) Ping(context.Context, string) ([]Pong, error) {
	switch {
	case f.elsewhere:
		return []Pong{{Version: "v1", Invocation: "other"}}, nil
	case f.active && !f.deaf && (f.user.Standing != UserOurs || f.user.Active && f.user.has(f.keyID)):
		return []Pong{{Version: "v2", Invocation: fmt.Sprint(f.invocation)}}, nil
	}
	return nil, nil
}

func (f theFleet) Decommission(context.Context, string, string) error {
	return f.call("decommission", func() { f.known = false })
}
