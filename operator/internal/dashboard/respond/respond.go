// Package respond answers requests to the dashboard: with a page, with JSON, or with an error,
// which is a sentence for the person who asked.
package respond

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"

	"fleet.nationtech.io/operator/internal/dashboard/page"
)

// APIPath is where the JSON of the pages is.
const APIPath = "/api/v1/"

// Types of what is answered.
const (
	HTMLType = "text/html; charset=utf-8"
	JSONType = "application/json"
)

// ErrUnwritten says that a page or a value could not be written: a fault of this program.
var ErrUnwritten = errors.New("the page cannot be written")

// Responder writes answers.
type Responder struct {
	// Asset distinguishes the assets of this program from another one's.
	Asset string

	pages  *page.Pages
	logger *slog.Logger
}

// New reads the templates and the assets.
func New(logger *slog.Logger) (*Responder, error) {
	pages, err := page.New()
	if err != nil {
		return nil, err
	}
	asset, err := digest(page.Assets)
	if err != nil {
		return nil, err
	}
	return &Responder{Asset: asset, pages: pages, logger: logger}, nil
}

// digest is a short name of what files say.
func digest(files fs.FS) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(files, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := fs.ReadFile(files, path)
		h.Write(b)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("digest the dashboard's assets: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

// Render gives a page without its end, which is each person's own. It fails with ErrUnwritten.
func (a *Responder) Render(p page.Page) ([]byte, error) {
	p.Asset = a.Asset
	b, err := a.pages.Render(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnwritten, err)
	}
	return b, nil
}

// Page writes a page that is made for one request, and gives its code.
func (a *Responder) Page(w http.ResponseWriter, r *http.Request, code int, p page.Page) int {
	body, err := a.Render(p)
	if err != nil {
		a.logger.Error("cannot write a page of the dashboard", "error", err)
		http.Error(w, "The page could not be written. The operator's own log says why.", http.StatusInternalServerError)
		return http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", HTMLType)
	w.WriteHeader(code)
	_, _ = w.Write(append(body, End(r)...)) // the client has gone away
	return code
}

// JSON writes a value as JSON, and gives its code. It fails with ErrUnwritten.
func JSON(w http.ResponseWriter, code int, v any) (int, error) {
	body, err := Encode(v)
	if err != nil {
		return 0, err
	}
	w.Header().Set("Content-Type", JSONType)
	w.WriteHeader(code)
	_, _ = w.Write(body) // the client has gone away
	return code, nil
}

// Encode gives a value as JSON. It fails with ErrUnwritten.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnwritten, err)
	}
	return b.Bytes(), nil
}
