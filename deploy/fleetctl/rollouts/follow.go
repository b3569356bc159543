package rollouts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/term"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/deploy/fleetctl/watch"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
)

// showEvery is the least time between two pictures, and on a terminal the most: a soak
// counts down though nothing happens.
const showEvery = time.Second

// follower shows a rollout as the log learns of it.
type follower struct {
	s        cli.Streams
	f        statusFlags
	catalog  *resource.Catalog
	recorded time.Time // when the log learned of what came last
	received time.Time // and when that came here
	shown    string    // what was written last
	lines    int       // of the picture on the terminal
}

// follow shows a rollout until it ends, the time is over, or a person ends it.
func (e env) follow(ctx context.Context, js jetstream.JetStream, cat *resource.Catalog, f statusFlags) error {
	w := &follower{s: e.s, f: f, catalog: cat, recorded: cat.Now, received: time.Now()}
	come, stop := watch.Arrivals(ctx, js, cat)
	err := w.run(ctx, come)
	stop()
	if ctx.Err() != nil {
		return nil //nolint:nilerr // Ctrl-C ends what follows
	}
	return err
}

func (w *follower) run(ctx context.Context, come <-chan watch.Arrival) error {
	var over <-chan time.Time
	if w.f.timeout > 0 {
		t := time.NewTimer(w.f.timeout)
		defer t.Stop()
		over = t.C
	}
	tick := time.NewTicker(showEvery)
	defer tick.Stop()
	if done, err := w.show(); done || err != nil {
		return err
	}
	changed := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-over:
			return cli.FailedWith(cli.ExitStillGoing, fmt.Errorf("the rollout of %s goes on after %v", w.f.key, w.f.timeout),
				w.s.Program()+" rollout status "+w.f.key.Name+" -n "+w.f.key.Namespace+" -w")
		case a, ok := <-come:
			if !ok {
				return nil
			}
			if a.Err != nil && !errors.Is(a.Err, eventlog.ErrForeign) {
				return a.Err
			}
			changed = w.take(a) || changed
			continue
		case <-tick.C:
		}
		if !changed && !w.s.Terminal && !w.moving() {
			continue
		}
		changed = false
		if done, err := w.show(); done || err != nil {
			return err
		}
	}
}

// take folds an event, and says whether it may concern the rollout.
func (w *follower) take(a watch.Arrival) bool {
	w.recorded, w.received = a.Event.Recorded, time.Now()
	v := w.catalog.View
	fleet.Apply(v, a.Event, a.Err)
	deployments, devices := v.Drain()
	w.catalog.Changed(deployments, devices)
	return len(deployments)+len(devices) > 0
}

// moving says whether time alone changes how the rollout stands.
func (w *follower) moving() bool {
	d := w.catalog.View.Deployments[w.f.key]
	return d != nil && d.Run.Phase.Moving()
}

// show writes how the rollout stands, where that differs from what was written last.
func (w *follower) show() (done bool, err error) {
	w.catalog.Now = w.recorded.Add(time.Since(w.received))
	p, ok := w.catalog.Progress(w.f.key, w.f.devices)
	if !ok {
		return false, nil // a revision that is yet to come
	}
	switch {
	case w.f.asJSON:
		err = w.document(p)
	case w.s.Terminal:
		w.draw(p)
	default:
		w.line(p)
	}
	if err != nil {
		return true, err
	}
	return outcome(w.s, p, w.f.revision)
}

// document writes a line of JSON.
func (w *follower) document(p resource.Progress) error {
	seen := p
	seen.Sequence, seen.Time = 0, time.Time{}
	seen.Batches = nil
	for _, b := range p.Batches {
		b.SoakLeft = 0
		seen.Batches = append(seen.Batches, b)
	}
	seen.Standings = nil
	for _, st := range p.Standings {
		st.Devices = nil // what they wait for tells the time
		seen.Standings = append(seen.Standings, st)
	}
	is, err := json.Marshal(seen)
	if err != nil || string(is) == w.shown {
		return err
	}
	w.shown = string(is)
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	w.s.Tell("%s\n", b)
	return nil
}

// line writes a line of text.
func (w *follower) line(p resource.Progress) {
	var b strings.Builder
	s := w.s
	s.Out = &b
	render.RolloutLine(s, p)
	_, is, _ := strings.Cut(b.String(), " ") // the time
	_, is, _ = strings.Cut(is, " ")          // the sequence
	if is == w.shown {
		return
	}
	w.shown = is
	w.s.Tell("%s", b.String())
}

// draw draws the tree in the place of the one before.
func (w *follower) draw(p resource.Progress) {
	lines := render.RolloutLines(w.s, p)
	columns, rows := w.size()
	if len(lines) > rows-1 && rows > 1 {
		lines = append(lines[:rows-2], "…\n")
	}
	var b strings.Builder
	if w.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", w.lines)
	}
	b.WriteString("\r\x1b[J")
	for _, l := range lines {
		l = strings.TrimSuffix(l, "\n")
		if utf8.RuneCountInString(l) > columns {
			l = ansi.Truncate(l, columns, "…")
		}
		b.WriteString(l + "\n")
	}
	w.lines = len(lines)
	w.s.Tell("%s", b.String())
}

// size is that of the terminal.
func (w *follower) size() (columns, rows int) {
	const usualColumns, usualRows = 80, 24
	if f, ok := w.s.Out.(*os.File); ok {
		if columns, rows, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 && rows > 0 {
			return columns, rows
		}
	}
	return usualColumns, usualRows
}
