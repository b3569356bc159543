package audit

// Known is the grant of a subject that the recorder knows the log to have.
func (r *Recorder) Known(subject string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[subject].grant
}
