package dashboard

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"hash/crc32"
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

// answer is a page, or its JSON, as it is sent. It is the same for all who may do the
// same, but for the end of a page, which names the person: that is added to each.
type answer struct {
	tag         string
	contentType string
	deflated    []byte // RFC 1951: whole blocks, without the last one
	sum         uint32 // of what is deflated
	size        int
}

// deflate makes an answer.
func deflate(tag, contentType string, body []byte) (*answer, error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed+1)
	if err == nil {
		_, err = w.Write(body)
	}
	if err == nil {
		err = w.Flush() // to a whole byte, so that another block can follow
	}
	return &answer{tag, contentType, b.Bytes(), crc32.ChecksumIEEE(body), len(body)}, err
}

// write sends an answer, and after it the end, which is short.
func (a *answer) write(w http.ResponseWriter, r *http.Request, tag string, end []byte) error {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("ETag", tag)
	if acceptsGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(gzipHeader)+len(a.deflated)+lastBlock+len(end)+gzipTrailer))
		for _, part := range [][]byte{gzipHeader, a.deflated, closing(end), a.trailer(end)} {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		return nil
	}
	whole := flate.NewReader(io.MultiReader(bytes.NewReader(a.deflated), bytes.NewReader(closing(end))))
	_, err := io.Copy(w, whole)
	return err
}

// What gzip (RFC 1952) has around deflated data.
const (
	gzipTrailer = 8
	lastBlock   = 5 // the header of a stored block (RFC 1951, section 3.2.4)
)

// gzipHeader names no time and no file.
var gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}

// closing is the last block, with a text of at most 65,535 bytes as it is.
func closing(text []byte) []byte {
	b := make([]byte, 1, lastBlock+len(text))
	b[0] = 1
	b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	b = binary.LittleEndian.AppendUint16(b, ^uint16(len(text)))
	return append(b, text...)
}

// trailer is the checksum and the size of all.
func (a *answer) trailer(end []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, crc32.Update(a.sum, crc32.IEEETable, end))
	return binary.LittleEndian.AppendUint32(b, uint32(a.size+len(end)))
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

// kept is the answer to one question. A request that has its turn reads it, and makes another one.
type kept struct {
	turn chan struct{} // holds one while a request has it

	*answer // nil: none was made yet
	logID   string
	made    time.Time

	// Guarded by the answers.
	asked int // requests that have it, or wait for it
	used  time.Time
}

func newAnswers() *answers { return &answers{byKey: map[string]*kept{}} }

// enter gives what is kept for a question, once it is the caller's turn. The caller leaves it.
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
		as.bytes -= len(k.deflated)
	}
	k.answer, k.logID, k.made = a, logID, now
	as.bytes += len(a.deflated)
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
			as.bytes -= len(k.deflated)
		}
		delete(as.byKey, oldest)
	}
}
