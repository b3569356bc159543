package endpoint

import (
	"context"
	"net/url"
	"slices"
	"strconv"

	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/moments"
	"fleet.nationtech.io/operator/internal/dashboard/page"
	"fleet.nationtech.io/operator/internal/eventsapi"
	"fleet.nationtech.io/projections/fleet"
)

// Page gives the page of what is shown, with the ways to other moments. last is where the log ends.
// It fails as the log does.
func (l *Loader) Page(ctx context.Context, e Endpoint, q Question, v Shown, last uint64) (p page.Page, err error) {
	p = page.Page{
		Name: e.Page, Title: v.title, Path: q.request.URL.EscapedPath(), Query: q.values,
		Moment: v.Moment, Last: max(last, v.Moment.Sequence), Acts: q.acts, Differs: v.differs, Model: v.Model,
	}
	if e.Page == page.Changes {
		p.Handles, err = l.handles(ctx, v, p.Last)
		return p, err
	}
	if v.Moment.Sequence > 0 {
		n, err := l.neighbours(ctx, v, p.Last)
		if err != nil {
			return p, err
		}
		p.Before, p.Current, p.After = n.Before, n.Current, n.After
		if v.Moment.Now && !v.still {
			p.Stream = streamPath(v.stream, v.Moment.Sequence)
		}
	}
	return p, nil
}

// neighbours gives the events around a page's moment that changed what it shows. Of the
// subjects that were read to make the page, the log is asked no more for what went before.
func (l *Loader) neighbours(ctx context.Context, v Shown, end uint64) (n moments.Neighbours, err error) {
	at := v.Moment.Sequence
	if len(v.read.subjects) == 0 {
		return l.Moments.Neighbours(ctx, at, end, v.subjects)
	}
	var rest []string
	for _, subject := range v.subjects {
		if !slices.Contains(v.read.subjects, subject) {
			rest = append(rest, subject)
		}
	}
	if len(rest) > 0 {
		if n, err = l.Moments.Neighbours(ctx, at, end, rest); err != nil {
			return n, err
		}
	}
	all := []uint64{n.Before, n.Current, v.read.before, v.read.newest}
	slices.Sort(all)
	n.Before, n.Current = all[2], all[3]
	after, err := l.Moments.After(ctx, at, end, v.read.subjects)
	if after > 0 && (n.After == 0 || after < n.After) {
		n.After = after
	}
	return n, err
}

// handles are the two ends of a comparison, each with the events around it that changed what the
// comparison is about.
func (l *Loader) handles(ctx context.Context, v Shown, end uint64) ([]page.Handle, error) {
	m, ok := v.Model.(model.Changes)
	if !ok {
		return nil, nil
	}
	var out []page.Handle
	for _, h := range []page.Handle{{Name: "from", Moment: m.From}, {Name: "to", Moment: m.To}} {
		n, err := l.Moments.Neighbours(ctx, h.Moment.Sequence, end, v.subjects)
		if err != nil {
			return nil, err
		}
		h.Before, h.After = n.Before, n.After
		out = append(out, h)
	}
	return out, nil
}

// aboutDeployment is the query by which the events API tells of a Deployment.
func aboutDeployment(key fleet.Key) string {
	return url.Values{"deployment": {key.Name}}.Encode()
}

// streamPath is where a page hears of what comes after a sequence.
func streamPath(query string, after uint64) string {
	text := eventsapi.Path + "?after=" + strconv.FormatUint(after, 10)
	if query != "" {
		text += "&" + query
	}
	return text
}
