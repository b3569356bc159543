package devprovider

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is what a provider in trouble does to requests.
type Fault struct {
	Path   string        // prefix of the paths that it concerns; empty: all
	Delay  time.Duration // before the answer
	Status int           // answered in place of the answer; 0: the answer itself
	// RetryAfter is answered with Status in the header of that name; 0: none.
	RetryAfter time.Duration
	// Times is how many requests it concerns, and then it ends; 0: it does not end.
	Times int
	// Body is answered with Status, such as {"keys":[]} with 200.
	Body string
	// Hang never answers.
	Hang bool
	// Began, where it is not nil, is called as each request that it concerns comes.
	Began func()
}

type faults struct {
	mu  sync.Mutex
	now *Fault
}

// SetFault switches a fault on; nil ends it.
func (p *Provider) SetFault(f *Fault) {
	p.faults.mu.Lock()
	defer p.faults.mu.Unlock()
	p.faults.now = f
}

// next is the fault that concerns the request after this one; nil: none.
func (f Fault) next() *Fault {
	if f.Times--; f.Times == 0 {
		return nil
	}
	return &f
}

func (f *faults) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		fault := f.now
		if fault == nil || !strings.HasPrefix(r.URL.Path, fault.Path) {
			f.mu.Unlock()
			next.ServeHTTP(w, r)
			return
		}
		if fault.Times > 0 {
			f.now = fault.next()
		}
		f.mu.Unlock()
		if fault.Began != nil {
			fault.Began()
		}
		if fault.Hang {
			<-r.Context().Done()
			return
		}
		timer := time.NewTimer(fault.Delay)
		defer timer.Stop()
		select {
		case <-r.Context().Done():
			return
		case <-timer.C:
		}
		if fault.Status == 0 {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if fault.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(fault.RetryAfter.Seconds())))
		}
		w.WriteHeader(fault.Status)
		_, _ = w.Write([]byte(fault.Body)) // who asked is gone
	})
}
