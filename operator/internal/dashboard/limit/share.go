package limit

import "sync"

// MaxShare is how many pages, answers and event streams one person has open at a time.
const MaxShare = 40

// Shares count what each person has open, so that one person's requests cannot take all places
// that there are: of streams of events, of pages that are made, of answers that are waited for.
type Shares struct {
	mu   sync.Mutex
	open map[string]int // by actor
}

// NewShares gives shares that are all free.
func NewShares() *Shares { return &Shares{open: map[string]int{}} }

// Take says whether a person may have one more open. A caller that took it returns it by GiveBack.
func (s *Shares) Take(actor string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[actor] >= MaxShare {
		return false
	}
	s.open[actor]++
	return true
}

// GiveBack ends what Take began.
func (s *Shares) GiveBack(actor string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[actor]--; s.open[actor] == 0 {
		delete(s.open, actor)
	}
}
