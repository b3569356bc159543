package plan

import (
	"fmt"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/eventlog/score"
)

// How long things take until they mean something else.
const (
	// StableRun is the run after which earlier crashes are forgotten.
	StableRun = 10 * time.Minute
	// SettleRun is how long a container that crashed in a row must run to count as
	// running again, so that a crash loop is reported as one.
	SettleRun = 10 * time.Second
	// killedRun is the shortest run whose end by a signal counts as somebody's wish,
	// not as a crash.
	killedRun = 3 * time.Second
	// maxKills is how often somebody's wish is taken for one without a stable run
	// between. What is killed more often is killed by a machine: by the kernel, say,
	// that is short of memory, and wants to be left in peace a while.
	maxKills = 5
	// oddGrace is how long a state that should pass by itself is given.
	oddGrace = 30 * time.Second
	// maxWait bounds every wait, lest a clock that was set back stretch one.
	maxWait = 2 * time.Hour
)

// Exit codes by which a shell's convention tells the signals that people and
// init systems send: interrupt, kill, terminate.
const (
	exitInterrupted = 128 + 2
	exitKilled      = 128 + 9
	exitTerminated  = 128 + 15
)

// remember brings the memory of a service, which is to be as s says, up to what
// was observed. wanted is the hash that the score has.
func (p *planner) remember(key Key, s score.Service, wanted string, c *engine.Container) {
	r := p.memory[key]
	next := r.Next
	if r.Hash != s.Hash {
		r = Record{Hash: s.Hash}
	}
	if next != nil && next.Hash == wanted && (c == nil || c.Hash != wanted) {
		r.Next = next
	} else {
		r.Next = nil
	}
	p.memory[key] = r.observed(c, p.in.Now)
}

// observed counts what happened to a service's container since the last look.
func (r Record) observed(c *engine.Container, now time.Time) Record {
	if c == nil {
		if r.Container != "" {
			// Somebody removed it. Whatever had failed may do so again, but the first try
			// is due at once: this is how a person says "again".
			again := Record{Hash: r.Hash, Restarts: r.Restarts, Ran: r.Ran, Lost: true}
			if r.Next != nil {
				again.Next = &Next{Hash: r.Next.Hash, Pulled: r.Next.Pulled}
			}
			return again
		}
		return r
	}
	if c.Hash != r.Hash {
		return r
	}
	r.Container, r.Lost = c.ID, false
	if !c.StartedAt.IsZero() {
		r.Ran = true
	}
	switch c.State {
	case engine.StateStopping, engine.StateRemoving, engine.StateUnknown:
		if r.Odd == nil || r.Odd.State != c.State {
			r.Odd = &Odd{State: c.State, Since: now}
		}
		return r
	}
	r.Odd = nil
	if c.State == engine.StateRunning {
		r.RestartAt = time.Time{}
		if now.Sub(c.StartedAt) >= StableRun {
			r.Crashes, r.Kills, r.LastEnd = 0, 0, ""
		}
	}
	if c.State.Ended() {
		r = r.ended(*c, now)
	}
	return r
}

// ended counts the end of a run, once, and says when the next may begin: at once
// after a stable run or when somebody ended it, else with back-off.
func (r Record) ended(c engine.Container, now time.Time) Record {
	end := c.FinishedAt
	if end.IsZero() {
		end = c.StartedAt
	}
	if end.Equal(r.Counted) {
		return r
	}
	r.Counted = end
	ran := end.Sub(c.StartedAt)
	if c.StartedAt.IsZero() {
		ran = 0
	}
	from := end
	if from.After(now) {
		from = now // the clock was set back meanwhile
	}
	switch {
	case ran >= StableRun:
		r.Crashes, r.Kills, r.LastEnd, r.RestartAt = 0, 0, "", from
	case endedByHand(c) && ran >= killedRun && r.Kills < maxKills:
		r.Kills++
		r.RestartAt = from
	case endedByHand(c) && r.Crashes == 0:
		r.Crashes, r.LastEnd, r.RestartAt = 1, endInWords(c), from
	default:
		r.Crashes++
		r.LastEnd = endInWords(c)
		r.RestartAt = from.Add(engine.CrashDelay(r.Crashes))
	}
	return r
}

func endedByHand(c engine.Container) bool {
	if c.OOMKilled {
		return false
	}
	return c.ExitCode == exitKilled || c.ExitCode == exitTerminated || c.ExitCode == exitInterrupted
}

func endInWords(c engine.Container) string {
	if c.OOMKilled {
		return "it was killed for using more memory than resources.memory allows"
	}
	return fmt.Sprintf("it exited with %d", c.ExitCode)
}

// due says whether a time has come. One that lies further ahead than any wait
// that is ever asked for comes from a clock that was set back: it has.
func due(at, now time.Time) bool {
	wait := at.Sub(now)
	return wait <= 0 || wait > maxWait
}
