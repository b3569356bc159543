// Package enrolling has the commands by which devices join and leave the fleet: enroll,
// enroll rotate and unenroll.
package enrolling

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"fleet.nationtech.io/deploy/enroll/machine"
)

// Terminal asks a person for secrets, one question at a time. What is typed is not shown.
type Terminal struct {
	// Many says that several devices are reached: a user's password is asked for once,
	// and tried on each of them.
	Many bool
	// Open opens the terminal; nil: the controlling terminal of the process.
	Open func() (*os.File, error)

	mu    sync.Mutex
	given map[machine.Question]string // for all devices
	tried map[machine.Question]string // on each
}

var _ machine.Secrets = (*Terminal)(nil)

// Ask asks for one secret.
func (t *Terminal) Ask(ctx context.Context, q machine.Question) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	whose := machine.Question{Kind: q.Kind, Of: q.Of, Jump: q.Jump}
	shared, of := whose, q.Of
	if user, _, found := strings.Cut(q.Of, "@"); found && t.Many && q.Kind != machine.Passphrase && !q.Jump {
		shared.Of, of = user, user+" on the devices"
	}
	// The answer for all, unless this device has refused that very one.
	if answer, ok := t.given[shared]; ok && (!q.Again || t.tried[whose] != answer) {
		t.note(&t.tried, whose, answer)
		return answer, nil
	}
	_, known := t.given[shared]
	if q.Again {
		of = q.Of
	}
	question := map[machine.Kind]string{
		machine.LoginPassword: "Password of " + of, machine.SudoPassword: "Password for sudo of " + of, machine.Passphrase: "Passphrase of " + of,
	}[q.Kind]
	if q.Again {
		question = "That was not right. " + question
	}
	answer, err := t.Read(ctx, question+": ")
	if err != nil {
		return "", err
	}
	if !known || q.Again { // a mistyped answer is corrected for all that ask after it
		t.note(&t.given, shared, answer)
	}
	t.note(&t.tried, whose, answer)
	return answer, nil
}

func (t *Terminal) note(in *map[machine.Question]string, q machine.Question, answer string) {
	if *in == nil {
		*in = map[machine.Question]string{}
	}
	(*in)[q] = answer
}

// Read asks one question at the terminal.
func (t *Terminal) Read(ctx context.Context, question string) (string, error) {
	open := t.Open
	if open == nil {
		open = func() (*os.File, error) { return os.OpenFile("/dev/tty", os.O_RDWR, 0) }
	}
	tty, err := open()
	if err != nil {
		return "", machine.ErrNobodyToAsk
	}
	fd := int(tty.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		_ = tty.Close()
		return "", machine.ErrNobodyToAsk
	}
	type typed struct {
		text []byte
		err  error
	}
	done := make(chan typed, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		_, _ = fmt.Fprintln(tty)
		_ = tty.Close()
		done <- typed{text, err}
	}()
	awaitNoEcho(fd, state)
	if _, err := fmt.Fprint(tty, question); err != nil {
		return "", fmt.Errorf("ask at the terminal: %w", err)
	}
	select {
	case <-ctx.Done():
		_ = term.Restore(fd, state) // the program ends, and the shell needs its echo
		return "", context.Cause(ctx)
	case got := <-done:
		switch {
		case got.err != nil:
			return "", fmt.Errorf("ask at the terminal: %w", got.err)
		case len(got.text) == 0:
			return "", errors.New("nothing was typed")
		}
		return string(got.text), nil
	}
}

// awaitNoEcho waits until the terminal does not show what is typed, so that who types
// as soon as the question is there is not shown either. It does not wait for long.
func awaitNoEcho(fd int, before *term.State) {
	const pause, tries = time.Millisecond, 1000
	for range tries {
		if now, err := term.GetState(fd); err != nil || !reflect.DeepEqual(before, now) {
			return
		}
		time.Sleep(pause)
	}
}
