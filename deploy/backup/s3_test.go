package backup_test

import (
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fleet.nationtech.io/deploy/backup"
)

// answers says of a store that it answers each request with a status and an error.
func answers(status int, code string) func(http.ResponseWriter, *http.Request, http.Handler) bool {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		if code != "" {
			_, _ = io.WriteString(w, `<Error><Code>`+code+`</Code><Message>said by the store</Message></Error>`)
		}
		return true
	}
}

func TestAnErrorSaysWhatTheStoreAnswered(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		fault func(http.ResponseWriter, *http.Request, http.Handler) bool
		want  error
		text  string
	}{
		"it is busy":                {answers(503, "SlowDown"), backup.ErrFailed, "the store failed: it answered 503 Service Unavailable: said by the store"},
		"it is full":                {answers(507, "XMinioStorageFull"), backup.ErrFailed, "it answered 507 Insufficient Storage: said by the store"},
		"what is before it is down": {answers(502, ""), backup.ErrFailed, "it answered 502 Bad Gateway"},
		"it refuses the request":    {answers(400, "InvalidArgument"), nil, "it answered 400 Bad Request: said by the store"},
		"it refuses the user":       {answers(403, "AccessDenied"), backup.ErrDenied, "access denied: said by the store"},
		"it cuts the connection": {func(http.ResponseWriter, *http.Request, http.Handler) bool {
			panic(http.ErrAbortHandler)
		}, backup.ErrUnreachable, "the store does not answer: "},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			s.behave(c.fault)
			p := s.place("s3://backups/f")
			_, err := p.List(t.Context())
			for _, of := range []error{backup.ErrFailed, backup.ErrDenied, backup.ErrUnreachable, backup.ErrNoPlace, backup.ErrMissing} {
				if errors.Is(err, of) != errors.Is(c.want, of) {
					t.Errorf("it is %v: %v", of, err)
				}
			}
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %s", err, c.text)
			}
		})
	}
}

func TestWhereThereAreNoCredentialsTheErrorSaysWhereTheyAreLookedFor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for what, c := range map[string]struct {
		env  map[string]string
		text string
	}{
		"none":       {map[string]string{backup.EnvFile: filepath.Join(dir, "none")}, "no credentials for the store: $AWS_ACCESS_KEY_ID is not set, and the file of credentials: open " + filepath.Join(dir, "none")},
		"no profile": {map[string]string{backup.EnvFile: filepath.Join("testdata", "credentials"), backup.EnvProfile: "nightly"}, "no credentials for the store: $AWS_ACCESS_KEY_ID is not set, and the file of credentials, profile nightly: "},
	} {
		s := newStore(t)
		c.env[backup.EnvEndpoint] = s.url
		p, _, err := backup.Open("s3://backups/f", func(k string) string { return c.env[k] })
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.List(t.Context())
		if diff := cmp.Diff(backup.ErrCredentials, err, cmpopts.EquateErrors()); diff != "" || errors.Is(err, backup.ErrUnreachable) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %s", what, err, c.text)
		}
	}
}
