package eventsapi

import "context"

// Reading is how many requests read the log now.
func (h *Handler) Reading() int { return len(h.slots) }

// ReadRecent reads what streams send up to a sequence.
func (h *Handler) ReadRecent(ctx context.Context, through uint64) error {
	_, _, err := h.recent.since(ctx, nil, 0, through)
	return err
}

// FillStreams takes all places of those who follow.
func (h *Handler) FillStreams() {
	for range cap(h.streams) {
		h.streams <- struct{}{}
	}
}
