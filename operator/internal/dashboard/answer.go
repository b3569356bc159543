package dashboard

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	keptAnswers = 64       // at most
	keptBytes   = 16 << 20 // compressed
)

// answer is a page, or its JSON, as it is sent. It is the same for all who may read it.
type answer struct {
	tag         string
	contentType string
	zipped      []byte
}

// zip makes an answer.
func zip(tag, contentType string, body []byte) (*answer, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed+1)
	if err == nil {
		_, err = w.Write(body)
	}
	if err == nil {
		err = w.Close()
	}
	return &answer{tag, contentType, b.Bytes()}, err
}

// write sends an answer.
func (a *answer) write(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("ETag", a.tag)
	if acceptsGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(a.zipped)))
		_, err := w.Write(a.zipped)
		return err
	}
	plain, err := gzip.NewReader(bytes.NewReader(a.zipped))
	if err != nil {
		return err
	}
	_, err = io.Copy(w, plain)
	return err
}

// acceptsGzip reads Accept-Encoding.
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		coding, weight, _ := strings.Cut(part, ";")
		if strings.TrimSpace(coding) == "gzip" {
			q := strings.TrimPrefix(strings.TrimSpace(weight), "q=")
			return strings.Trim(q, "0.") != "" || q == "" || q == weight
		}
	}
	return false
}

// answers keeps for each question the answer that was made last, so that many who look at one
// page cost as much as one.
type answers struct {
	mu    sync.Mutex
	byKey map[string]*kept
	bytes int
}

// kept is the answer to one question. Who has its turn reads it, and makes another one.
type kept struct {
	turn chan struct{} // holds one while somebody has it

	*answer // nil: none was made yet
	logID   string
	made    time.Time

	// Guarded by the answers.
	asked int // who has it, or waits for it
	used  time.Time
}

func newAnswers() *answers { return &answers{byKey: map[string]*kept{}} }

// enter gives what is kept for a question, once it is this one's turn. Who has it leaves it.
func (as *answers) enter(ctx context.Context, key string, now time.Time) (k *kept, leave func(), err error) {
	as.mu.Lock()
	k = as.byKey[key]
	if k == nil {
		k = &kept{turn: make(chan struct{}, 1)}
		as.byKey[key] = k
	}
	k.asked++
	k.used = now
	as.mu.Unlock()
	out := func() {
		as.mu.Lock()
		defer as.mu.Unlock()
		k.asked--
		as.tidy()
	}
	select {
	case k.turn <- struct{}{}:
		return k, func() { <-k.turn; out() }, nil
	case <-ctx.Done():
		out()
		return nil, nil, ctx.Err()
	}
}

// put keeps an answer. The caller has its turn.
func (as *answers) put(k *kept, a *answer, logID string, now time.Time) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if k.answer != nil {
		as.bytes -= len(k.zipped)
	}
	k.answer, k.logID, k.made = a, logID, now
	as.bytes += len(a.zipped)
}

// tidy forgets what was asked for longest ago.
func (as *answers) tidy() {
	for len(as.byKey) > keptAnswers || as.bytes > keptBytes {
		oldest := ""
		for key, k := range as.byKey {
			if k.asked == 0 && (oldest == "" || k.used.Before(as.byKey[oldest].used)) {
				oldest = key
			}
		}
		if oldest == "" {
			return // all are being asked for
		}
		if k := as.byKey[oldest]; k.answer != nil {
			as.bytes -= len(k.zipped)
		}
		delete(as.byKey, oldest)
	}
}
