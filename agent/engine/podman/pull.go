package podman

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/containers/podman/v5/pkg/bindings/images"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/eventlog/score"
)

// Pull makes sure that an image is there.
func (p *Podman) Pull(ctx context.Context, image string, policy score.PullPolicy, progress func(string)) error {
	conn, err := p.connect(ctx)
	if err != nil {
		return err
	}
	if policy != score.PullAlways {
		there, err := images.Exists(conn, image, nil)
		if err != nil {
			return failPull(ctx, image, err)
		}
		if there {
			return nil
		}
	}
	if policy == score.PullNever {
		return &engine.Error{
			Class: engine.ClassRetrySlowly, Reason: engine.ReasonImageNotPresent,
			Err: fmt.Errorf("image %s is not on the device, and pullPolicy is Never", image),
		}
	}
	if progress == nil {
		progress = func(string) {}
	}
	lines := &lineWriter{line: progress}
	// Some calls that were cut short give neither images nor an error.
	_, err = images.Pull(conn, image, new(images.PullOptions).WithProgressWriter(lines))
	if err != nil || ctx.Err() != nil {
		return failPull(ctx, image, err)
	}
	return nil
}

// lineWriter calls line for each line written to it.
type lineWriter struct {
	line func(string)
	rest []byte
}

var _ io.Writer = (*lineWriter)(nil)

func (w *lineWriter) Write(b []byte) (int, error) {
	w.rest = append(w.rest, b...)
	for {
		line, rest, found := bytes.Cut(w.rest, []byte{'\n'})
		if !found {
			return len(b), nil
		}
		w.rest = rest
		if text := strings.TrimSpace(string(line)); text != "" {
			w.line(text)
		}
	}
}
