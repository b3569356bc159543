package examine

import (
	"context"
	"errors"
	"fmt"

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
	case errors.Is(err, present.ErrNoOperator):
		l.Operator.Silent = err.Error()
	default:
		l.Operator.FoldUnread = err.Error()
	}
}
