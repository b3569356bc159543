package images

import (
	"archive/tar"
	"io"
	"strings"
	"syscall"
	"testing"
)

// fullDisk takes so many bytes.
type fullDisk struct{ room int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if len(p) > d.room {
		n := d.room
		d.room = 0
		return n, syscall.ENOSPC
	}
	d.room -= len(p)
	return len(p), nil
}

func TestAnArchiveThatCannotBeWrittenSaysWhy(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		to      io.Writer
		content string
		want    string
	}{
		"a layer that is whole":      {io.Discard, "12345", ""},
		"a layer that is cut":        {io.Discard, "123", "layer has 3 bytes, not 5"},
		"a layer that is longer":     {io.Discard, "123456", "layer has more than its 5 bytes"},
		"a disk without room for it": {&fullDisk{514}, "12345", "layer: no space left on device"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if err := (&archiveWriter{w: tar.NewWriter(tt.to)}).file("layer", 5, strings.NewReader(tt.content)); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
