package enrolling_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"

	"fleet.nationtech.io/deploy/enroll/machine"
	"fleet.nationtech.io/deploy/fleetctl/enrolling"
)

// person answers questions at a terminal, in their order, and gives what was shown.
func person(t *testing.T, answers ...string) (open func() (*os.File, error), shown func() string) {
	t.Helper()
	var seen []string
	next := 0
	return func() (*os.File, error) {
			us, them, err := pty.Open()
			if err != nil {
				return nil, err
			}
			t.Cleanup(func() { us.Close() })
			answer := answers[next]
			next++
			done := make(chan string, 1)
			go func() {
				r := bufio.NewReader(us)
				question, _ := r.ReadString(':')
				_, _ = us.WriteString(answer + "\n")
				rest, _ := r.ReadString('\n')
				done <- question + rest
			}()
			t.Cleanup(func() { seen = append(seen, <-done) })
			return them, nil
		}, func() string {
			return strings.Join(seen, "\n")
		}
}

func TestOnePasswordIsAskedForAllDevicesOfAnInventory(t *testing.T) {
	t.Parallel()
	open, _ := person(t, "hunter2", "other", "the bastion's")
	asked := &enrolling.Terminal{Many: true, Open: open}
	for _, step := range []struct {
		q    machine.Question
		want string
	}{
		{machine.Question{Kind: machine.SudoPassword, Of: "pi@a:22"}, "hunter2"},
		{machine.Question{Kind: machine.SudoPassword, Of: "pi@b:22"}, "hunter2"},
		{machine.Question{Kind: machine.SudoPassword, Of: "pi@c:22"}, "hunter2"},
		{machine.Question{Kind: machine.SudoPassword, Of: "pi@c:22", Again: true}, "other"},
		{machine.Question{Kind: machine.SudoPassword, Of: "pi@b:22", Again: true}, "other"},
		{machine.Question{Kind: machine.SudoPassword, Of: "pi@d:22"}, "other"},
		{machine.Question{Kind: machine.SudoPassword, Of: "pi@bastion:22", Jump: true}, "the bastion's"},
	} {
		got, err := asked.Ask(t.Context(), step.q)
		if err != nil || got != step.want {
			t.Errorf("%+v: %q, %v; want %q", step.q, got, err, step.want)
		}
	}
}

func TestWhatIsTypedIsNotShown(t *testing.T) {
	t.Parallel()
	var shown func() string
	t.Run("ask", func(t *testing.T) {
		var open func() (*os.File, error)
		open, shown = person(t, "hunter2")
		got, err := (&enrolling.Terminal{Open: open}).Ask(t.Context(), machine.Question{Kind: machine.Passphrase, Of: "/home/pi/id"})
		if err != nil || got != "hunter2" {
			t.Errorf("%q, %v", got, err)
		}
	})
	if text := shown(); !strings.Contains(text, "Passphrase of /home/pi/id") || strings.Contains(text, "hunter2") {
		t.Errorf("the terminal shows %q", text)
	}
}

func TestWhoEndsTheCommandIsNotAskedOn(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	open := func() (*os.File, error) {
		us, them, err := pty.Open()
		t.Cleanup(func() { us.Close() })
		return them, err
	}
	if _, err := (&enrolling.Terminal{Open: open}).Read(ctx, "Password: "); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := (&enrolling.Terminal{Open: func() (*os.File, error) { return nil, os.ErrNotExist }}).Read(t.Context(), "x"); !errors.Is(err, machine.ErrNobodyToAsk) {
		t.Errorf("error %v", err)
	}
}
