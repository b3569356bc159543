package podman

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"sync"

	"github.com/containers/podman/v5/pkg/api/handlers"
	"github.com/containers/podman/v5/pkg/bindings"
	"github.com/containers/podman/v5/pkg/bindings/containers"
	dockercontainer "github.com/docker/docker/api/types/container"

	"fleet.nationtech.io/agent/engine"
)

// maxOutput is how much of a command's output is kept, in bytes.
const maxOutput = 4 << 10

// Exec runs a command in a container and waits for it. When the context ends, the
// waiting does; the command goes on, as Podman has no way to end it. As long as it
// does there is no other in that container: a check that hangs would fill it with
// processes, one each interval.
func (p *Podman) Exec(ctx context.Context, id string, argv []string) (engine.ExecResult, error) {
	conn, err := p.connect(ctx)
	if err != nil {
		return engine.ExecResult{}, err
	}
	if _, err := p.own(conn, id); err != nil {
		return engine.ExecResult{}, err
	}
	if err := p.leftBehind(ctx, conn, id); err != nil {
		return engine.ExecResult{}, err
	}
	session, err := containers.ExecCreate(conn, id, &handlers.ExecCreateConfig{ExecOptions: dockercontainer.ExecOptions{
		Cmd: argv, AttachStdout: true, AttachStderr: true,
	}})
	if err != nil {
		return engine.ExecResult{}, fail(ctx, engine.ReasonExecFailed, err)
	}
	output := &cappedBuffer{limit: maxOutput}
	if err := p.attach(ctx, session, output); err != nil {
		p.leave(id, session)
		return engine.ExecResult{}, err
	}
	done, err := containers.ExecInspect(conn, session, nil)
	if err != nil {
		return engine.ExecResult{}, fail(ctx, engine.ReasonExecFailed, err)
	}
	if err := removeSession(conn, session); err != nil {
		return engine.ExecResult{}, fail(ctx, engine.ReasonExecFailed, err)
	}
	result := engine.ExecResult{ExitCode: done.ExitCode, Output: output.String()}
	if why := unstarted(result); why != "" {
		return engine.ExecResult{ExitCode: done.ExitCode, Unstarted: why}, nil
	}
	return result, nil
}

// Exit codes that Podman gives for a command that it could not run at all. A
// command may end with them by itself.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// notRun is the line that Podman writes in place of a command's output, as crun and
// runc word it.
var notRun = regexp.MustCompile(`(?m)\AError: (?:.*unable to start container process: |crun: |runc: )?(.*): (?:OCI runtime attempted to invoke a command that was not found|OCI permission denied)$`)

// unstarted gives Podman's reason why a command did not run, if it did not.
func unstarted(r engine.ExecResult) string {
	if r.ExitCode != exitNotFound && r.ExitCode != exitNotExecutable {
		return ""
	}
	if m := notRun.FindStringSubmatch(r.Output); m != nil {
		return m[1]
	}
	return ""
}

// leave remembers the session of a command whose end was not waited for.
func (p *Podman) leave(id, session string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left[id] = session
}

// leftBehind fails while a command that was left runs in the container.
func (p *Podman) leftBehind(ctx, conn context.Context, id string) error {
	p.mu.Lock()
	session := p.left[id]
	p.mu.Unlock()
	if session == "" {
		return nil
	}
	switch left, err := containers.ExecInspect(conn, session, nil); {
	case err == nil && left.Running:
		return &engine.Error{
			Class: engine.ClassRetry, Reason: engine.ReasonExecFailed,
			Err: errors.New("the command before it did not end in its time, and runs still"),
		}
	case err != nil && (ctx.Err() != nil || away(err)):
		return fail(ctx, engine.ReasonExecFailed, err)
	}
	// It has ended, or its session went with the container's run.
	p.mu.Lock()
	delete(p.left, id)
	p.mu.Unlock()
	return nil
}

// removeSession forgets a session that ended. A service before 4.8 can't be asked
// to: there each session keeps a process of Podman's for exit_command_delay
// ([engine] in containers.conf, 300 s by default), which devices should set low.
func removeSession(conn context.Context, session string) error {
	err := containers.ExecRemove(conn, session, nil)
	var old *bindings.APIVersionError
	if errors.As(err, &old) {
		return nil
	}
	return err
}

// attach starts a session and reads its output to the end. It has a connection
// of its own, as the bindings exchange the client of the one that they attach on,
// and closes it when the context ends, which the bindings don't look at.
func (p *Podman) attach(ctx context.Context, session string, output io.Writer) error {
	service, err := dial(ctx, p.options.Socket)
	if err != nil {
		return err
	}
	client, err := bindings.GetClient(service)
	if err != nil {
		return fail(ctx, engine.ReasonExecFailed, err)
	}
	plain, ok := client.Client.Transport.(*http.Transport)
	if !ok {
		return &engine.Error{Class: engine.ClassChange, Reason: engine.ReasonExecFailed, Err: fmt.Errorf("podman's bindings connect by %T", client.Client.Transport)}
	}
	defer plain.CloseIdleConnections()
	dialed := plain.DialContext
	closing := &http.Transport{DialContext: func(dialing context.Context, network, address string) (net.Conn, error) {
		c, err := dialed(dialing, network, address)
		if err == nil {
			context.AfterFunc(ctx, func() { _ = c.Close() })
		}
		return c, err
	}}
	client.Client = &http.Client{Transport: closing}
	defer closing.CloseIdleConnections()
	options := new(containers.ExecStartAndAttachOptions).
		WithOutputStream(output).WithErrorStream(output).WithAttachOutput(true).WithAttachError(true)
	if err := containers.ExecStartAndAttach(connected{Context: ctx, service: service}, session, options); err != nil {
		return fail(ctx, engine.ReasonExecFailed, err)
	}
	return ctx.Err()
}

// Get asks a container by HTTP: where its port is published if it is, else at
// its own address.
func (p *Podman) Get(ctx context.Context, id string, port uint16, path string) (int, error) {
	conn, err := p.connect(ctx)
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	i, found := p.seen[id]
	p.mu.Unlock()
	if !found {
		if i, err = p.own(conn, id); err != nil {
			return 0, err
		}
	}
	host, err := i.reach(port)
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+path, nil)
	if err != nil {
		return 0, &engine.Error{Class: engine.ClassChange, Reason: engine.ReasonExecFailed, Err: err}
	}
	// A redirect is an answer by itself; what it leads to may not be the container.
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, &engine.Error{Class: engine.ClassRetry, Reason: engine.ReasonExecFailed, Err: err}
	}
	return answer.StatusCode, answer.Body.Close()
}

func (i inspected) reach(port uint16) (string, error) {
	number := strconv.Itoa(int(port))
	if i.host {
		return net.JoinHostPort("127.0.0.1", number), nil
	}
	for _, pub := range i.published {
		if pub.container == port && pub.protocol != "udp" && pub.host != 0 {
			ip := pub.ip
			if ip == "" || ip == "0.0.0.0" || ip == "::" {
				ip = "127.0.0.1"
			}
			return net.JoinHostPort(ip, strconv.Itoa(int(pub.host))), nil
		}
	}
	if i.address == "" {
		return "", &engine.Error{Class: engine.ClassRetry, Reason: engine.ReasonExecFailed, Err: fmt.Errorf("container %.12s has no address, and its port %d is not published", i.container.ID, port)}
	}
	return net.JoinHostPort(i.address, number), nil
}

// cappedBuffer keeps the first bytes that are written to it.
type cappedBuffer struct {
	limit int
	mu    sync.Mutex
	kept  []byte
}

func (k *cappedBuffer) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept = append(k.kept, b[:min(len(b), k.limit-len(k.kept))]...)
	return len(b), nil
}

func (k *cappedBuffer) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return string(k.kept)
}
