package lag

import "context"

// Look is one look of Run.
func (w *Watch) Look(ctx context.Context) error { return w.look(ctx) }
