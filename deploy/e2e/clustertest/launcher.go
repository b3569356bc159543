package clustertest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// endTimeout bounds the end of a node, which takes two seconds.
const endTimeout = time.Minute

// launcher is the running script launch.sh. Its end is the node's.
type launcher struct {
	cmd    *exec.Cmd
	input  io.WriteCloser
	output *bufio.Reader
	first  string // the process id of the node's first process; empty while the power is off
}

// launch starts the script. The node's power is off then.
func (n *Node) launch() (*launcher, error) {
	l := &launcher{}
	l.cmd = exec.CommandContext(context.Background(), "bash", filepath.Join(n.state, "launch.sh"))
	l.cmd.Env = []string{
		"NODE=" + n.Name, "STATE=" + n.state, "NETWORK=" + n.slot.network().String(), "ADDRESS=" + n.Address.String(), "GATEWAY=" + n.Gateway.String(),
		"LINK=" + n.slot.link(), "METRIC=" + n.slot.metric(), "PATH=" + n.binaries + ":/usr/sbin:/usr/bin:/sbin:/bin",
	}
	l.cmd.ExtraFiles = []*os.File{n.slot.lock} // the slot is taken for as long as the launcher lives
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	said, err := os.OpenFile(filepath.Join(n.state, "log", "launch.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer said.Close() // the script has it
	l.cmd.Stderr = said
	input, err := l.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := l.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	l.input, l.output = input, bufio.NewReader(output)
	return l, l.cmd.Start()
}

// powerOn starts the node's first process and connects it.
func (l *launcher) powerOn() error {
	answer, err := l.order("on")
	if err != nil {
		return err
	}
	if _, err := strconv.Atoi(answer); err != nil {
		return fmt.Errorf("launch.sh says %q", answer)
	}
	l.first = answer
	return nil
}

// powerOff kills all of the node's processes.
func (l *launcher) powerOff() error {
	l.first = ""
	_, err := l.order("off")
	return err
}

// isOn says whether the node's processes run.
func (l *launcher) isOn() bool { return l.first != "" }

// order gives the script an order and returns its answer.
func (l *launcher) order(word string) (string, error) {
	late := time.AfterFunc(endTimeout, func() { _ = l.cmd.Process.Kill() })
	defer late.Stop()
	_, err := io.WriteString(l.input, word+"\n")
	answer, err2 := l.output.ReadString('\n')
	if err := errors.Join(err, err2); err != nil {
		return "", fmt.Errorf("launch.sh: %s: %w", word, err)
	}
	return strings.TrimSpace(answer), nil
}

// end ends the node and removes its state.
func (l *launcher) end() error {
	err := l.input.Close()
	late := time.AfterFunc(endTimeout, func() { _ = l.cmd.Process.Kill() })
	defer late.Stop()
	if waited := l.cmd.Wait(); waited != nil {
		err = errors.Join(err, fmt.Errorf("launch.sh: %w", waited))
	}
	return err
}

// enter runs a program within the node and returns what it prints.
func (n *Node) enter(ctx context.Context, program string, args ...string) (string, error) {
	if n.launcher.first == "" {
		return "", errors.New("the node's power is off")
	}
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{
		"--target", n.launcher.first, "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--", program,
	}, args...)...)
	cmd.Env = []string{"PATH=" + n.binaries + ":/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, out)
	}
	return string(out), err
}
