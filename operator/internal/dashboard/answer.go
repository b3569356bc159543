package dashboard

import (
	"bytes"
	"compress/gzip"
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

// answers keeps the answers that were given last, so that many who look at one page cost as
// much as one.
type answers struct {
	mu    sync.Mutex
	byTag map[string]*kept
	bytes int
}

type kept struct {
	*answer
	used time.Time
}

func newAnswers() *answers { return &answers{byTag: map[string]*kept{}} }

func (as *answers) get(tag string, now time.Time) *answer {
	as.mu.Lock()
	defer as.mu.Unlock()
	k := as.byTag[tag]
	if k == nil {
		return nil
	}
	k.used = now
	return k.answer
}

func (as *answers) put(a *answer, now time.Time) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if len(a.zipped) > keptBytes/4 || as.byTag[a.tag] != nil {
		return
	}
	as.byTag[a.tag] = &kept{a, now}
	as.bytes += len(a.zipped)
	for len(as.byTag) > keptAnswers || as.bytes > keptBytes {
		oldest := ""
		for tag, k := range as.byTag {
			if oldest == "" || k.used.Before(as.byTag[oldest].used) {
				oldest = tag
			}
		}
		as.bytes -= len(as.byTag[oldest].zipped)
		delete(as.byTag, oldest)
	}
}
