package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// foldCheck folds the log, and keeps what each bucket should have.
type foldCheck struct {
	report  *Report
	view    *fleet.View
	ledgers map[string]*ledger // by bucket
	saved   *checkpoints

	score []byte // the last one that was found good: most assignments say the same
}

func newFoldCheck(r *Report) *foldCheck {
	c := &foldCheck{report: r, view: fleet.New(), ledgers: map[string]*ledger{}}
	for _, b := range eventlog.Buckets() {
		c.ledgers[b] = newLedger(eventlog.ProjectionOf(b))
	}
	return c
}

func (c *foldCheck) run(ctx context.Context, batches <-chan []item) {
	for batch := range batches {
		for i := range batch {
			c.add(&batch[i])
			c.saved.compare(ctx, c.view)
		}
	}
}

func (c *foldCheck) add(i *item) {
	before, skipped := c.numbers(i), c.view.Foreign[i.Address.Family]
	fleet.Apply(c.view, i.Event, i.foreign)
	repeated := c.compareNumbers(i, before)
	counted := c.view.Foreign[i.Address.Family] > skipped
	if err := c.foreign(i, counted, repeated); err != nil {
		c.report.add(Finding{Kind: Foreign, Sequence: i.Sequence, Subject: i.Subject, Says: err.Error()})
	}
	if l := c.ledgers[bucketOf(i.Address.Family)]; l != nil {
		l.put(i.Subject, entryOf(i.Sequence, i.Header, i.Data))
	}
}

// bucketOf is the bucket that a family projects into.
func bucketOf(f eventlog.Family) string {
	switch f {
	case eventlog.FamilyDesired:
		return eventlog.BucketDesired
	case eventlog.FamilyState:
		return eventlog.BucketState
	case eventlog.FamilyInfo:
		return eventlog.BucketInfo
	}
	return ""
}

// foreign says why a message is none of the fleet's, by the verdict of every
// reader (eventlog.Check). Most of a log are reports, which the fold has looked
// at, and assignments of one score to many devices: those are not decoded again.
func (c *foldCheck) foreign(i *item, counted, repeated bool) error {
	switch {
	case i.foreign != nil:
		return i.foreign
	case counted && c.left(i):
		// The report is well formed. That a device was alive when it was taken out
		// of the fleet is nobody's fault.
	case counted && i.Type == eventlog.StateReported && eventlog.Check(i.Event) == nil:
		return fleet.ErrTooManyUnknown // no other reader's verdict: it takes the fold
	case (i.Type == eventlog.StateReported || i.Type == eventlog.InfoReported) && !counted && !repeated:
		return nil
	case i.Type == eventlog.DesiredAssigned && len(i.Data) > 0 && bytes.Equal(i.Data, c.score):
		return nil
	}
	err := eventlog.Check(i.Event)
	if err == nil && i.Type == eventlog.DesiredAssigned {
		c.score = i.Data
	}
	if !errors.Is(err, eventlog.ErrForeign) {
		return nil
	}
	return err
}

// left says whether a message comes from a device that was decommissioned.
func (c *foldCheck) left(i *item) bool {
	d := c.view.Devices[i.Address.Device]
	return d != nil && d.Decommissioned
}

// numbers are how many of a device's reports came twice or not at all.
type numbers struct{ repeats, gaps uint64 }

func (c *foldCheck) numbers(i *item) numbers {
	if i.Counter.Epoch == "" {
		return numbers{}
	}
	if d := c.view.Devices[i.Address.Device]; d != nil {
		return numbers{d.Identity.Repeats, d.Identity.Gaps}
	}
	return numbers{}
}

// compareNumbers tells what the fold made of a report's number: the rule is its
// own (fleet.Identity). It says whether the report had come before.
func (c *foldCheck) compareNumbers(i *item, before numbers) (repeated bool) {
	now := c.numbers(i)
	if now == before {
		return false
	}
	f := Finding{Sequence: i.Sequence, Subject: i.Subject}
	if n := now.gaps - before.gaps; n > 0 {
		f.Kind, f.Says = NumberGap, fmt.Sprintf("report %s of device %s comes where %d before it never came", i.Counter, i.Address.Device, n)
		c.report.addMany(f, n)
	}
	repeated = now.repeats > before.repeats
	if repeated {
		f.Kind, f.Says = NumberRepeat, fmt.Sprintf("report %s of device %s had come before: the fold drops it", i.Counter, i.Address.Device)
		c.report.add(f)
	}
	return repeated
}
