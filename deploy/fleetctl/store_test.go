package fleetctl_test

import (
	"net/http/httptest"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// fakeStore is an S3-compatible store with the bucket backups.
func fakeStore(t *testing.T) (url string, err error) {
	backend := s3mem.New()
	if err := backend.CreateBucket("backups"); err != nil {
		return "", err
	}
	s := httptest.NewServer(gofakes3.New(backend, gofakes3.WithoutVersioning()).Server())
	t.Cleanup(s.Close)
	return s.URL, nil
}
