package machine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// exec runs a shell's command line with an input, as the user who is logged in.
type exec func(ctx context.Context, line string, stdin []byte) (Result, error)

// root runs scripts as root: at once where the user is root, else by sudo, without a
// password where sudo wants none, else with one that a person is asked for. The
// password goes over the input alone.
type root struct {
	exec    exec
	user    string // for the question, such as pi@10.0.0.5
	secrets Secrets

	mu       sync.Mutex
	known    bool
	how      elevation
	password string
}

type elevation int

const (
	isRoot elevation = iota
	sudoFree
	sudoPassword
)

// ErrNoRoot says that scripts cannot be run as root.
var ErrNoRoot = errors.New("root rights are needed")

const sudoTries = 3

// sudoByInput makes sudo read the password from the input each time, and speak English.
const sudoByInput = "LC_ALL=C sudo -k -S -p '' "

// marker ends what is in the input before the script's own. sudo may leave the password
// there, where it did not want one after all, and it must not become a part of a file.
const marker = "fleet-enroll-input"

// skipToMarker reads up to the marker. A shell's read takes no byte more than the line.
const skipToMarker = `while IFS= read -r fleet_line; do [ "$fleet_line" = ` + marker + ` ] && break; done` + "\n"

func (r *root) run(ctx context.Context, c Command) (Result, error) {
	how, password, err := r.elevate(ctx)
	if err != nil {
		return Result{}, err
	}
	switch how {
	case sudoFree:
		return r.exec(ctx, "sudo -n "+shellLine(c.Script, c.Args), c.Stdin)
	case sudoPassword:
		input := append([]byte(password+"\n"+marker+"\n"), c.Stdin...)
		return r.exec(ctx, sudoByInput+shellLine(skipToMarker+c.Script, c.Args), input)
	}
	return r.exec(ctx, shellLine(c.Script, c.Args), c.Stdin)
}

// elevate finds out, once, how scripts become root.
func (r *root) elevate(ctx context.Context) (elevation, string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known {
		return r.how, r.password, nil
	}
	// -k makes sudo forget, for this one command, a password that was typed a minute
	// ago: what works now must work in the middle of an enrolment too.
	out, err := r.exec(ctx, shellLine(`say() { echo "`+marker+` $1"; exit; }
[ "$(id -u)" = 0 ] && say root
command -v sudo >/dev/null 2>&1 || say none
sudo -n -k sh -c : 2>/dev/null && say free
say password`, nil), nil)
	if err != nil {
		return 0, "", err
	}
	// A login shell may greet before.
	_, answer, _ := strings.Cut(string(out.Stdout), marker+" ")
	switch strings.TrimSpace(answer) {
	case "root":
		r.how = isRoot
	case "free":
		r.how = sudoFree
	case "password":
		if r.password, err = r.ask(ctx); err != nil {
			return 0, "", err
		}
		r.how = sudoPassword
	case "none":
		return 0, "", fmt.Errorf("%w: %s is not root, and the device has no sudo: log in as root, or install sudo", ErrNoRoot, r.user)
	default:
		return 0, "", fmt.Errorf("%w: cannot find out who %s is: %s", ErrNoRoot, r.user, LastLine(append(out.Stdout, out.Stderr...)))
	}
	r.known = true
	return r.how, r.password, nil
}

func (r *root) ask(ctx context.Context) (string, error) {
	for try := range sudoTries {
		password, err := r.secrets.Ask(ctx, Question{Kind: SudoPassword, Of: r.user, Again: try > 0})
		if err != nil {
			return "", fmt.Errorf("%w: sudo wants a password for %s: %w", ErrNoRoot, r.user, err)
		}
		out, err := r.exec(ctx, sudoByInput+shellLine(":", nil), []byte(password+"\n"))
		if err != nil {
			return "", err
		}
		if out.Code == 0 {
			return password, nil
		}
		said := string(out.Stderr)
		switch {
		case strings.Contains(said, "have a tty"):
			return "", fmt.Errorf("%w: sudo on the device demands a terminal (requiretty): allow %s to do without (Defaults:USER !requiretty), or log in as root", ErrNoRoot, r.user)
		case strings.Contains(said, "not in the sudoers"), strings.Contains(said, "not allowed"), strings.Contains(said, "may not run"):
			return "", fmt.Errorf("%w: %s may not use sudo: log in as root, or as a user who may", ErrNoRoot, r.user)
		}
	}
	return "", fmt.Errorf("%w: sudo did not take the password of %s", ErrNoRoot, r.user)
}

// shellLine is the command line that runs a script, for any shell of the user's.
func shellLine(script string, args []string) string {
	line := "sh -c " + quote(script)
	if len(args) > 0 {
		line += " sh"
		for _, a := range args {
			line += " " + quote(a)
		}
	}
	return line
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
