package examine

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/projections/attention/present"
)

// fold asks an operator how far it has folded the log.
func (l *look) fold(ctx context.Context) {
	if l.Operator == nil || l.Operator.Leader == "" {
		return
	}
	ctx, cancel := asking(ctx)
	defer cancel()
	f, err := present.Fold(ctx, l.JS)
	switch {
	case err == nil:
		l.Operator.Fold = f
	case errors.Is(err, context.Canceled), errors.Is(err, present.ErrFoldRefused):
		l.Operator.FoldUnread = fmt.Sprintf("the servers refuse the question to user %q, as it is for operators and admins", l.User)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrNoResponders):
		l.Operator.FoldUnread = fmt.Sprintf("no operator answered within %s; one that runs answers unless it has no connection to the servers", present.FoldPatience)
	default:
		l.Operator.FoldUnread = err.Error()
	}
}
