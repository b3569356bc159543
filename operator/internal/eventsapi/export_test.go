package eventsapi

// Reading is how many requests read the log now.
func (h *Handler) Reading() int { return len(h.slots) }
