package wholefile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The former file is another one, so that a program which runs from it goes on.
func TestAFileIsReplacedAndTheFormerOneIsNotWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, former := filepath.Join(dir, "program"), filepath.Join(dir, "former")
	if err := errors.Join(os.WriteFile(file, []byte("old"), 0o600), os.Link(file, former), os.WriteFile(file+".part", []byte("cut before"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := Write(file, 0o700, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if is, was := read(t, file), read(t, former); is != "new" || was != "old" {
		t.Errorf("the file has %q, the former one %q", is, was)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o700 {
		t.Errorf("it has the rights %v (%v)", info.Mode(), err)
	}
}

func TestAWriteThatFailsLeavesTheFormerFileAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := Write(file, 0o600, []byte("old")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	err := Stream(file, 0o600, func(w io.Writer) error {
		_, err := w.Write(make([]byte, 3<<20))
		return errors.Join(err, broken)
	})
	if !errors.Is(err, broken) || read(t, file) != "old" {
		t.Errorf("%v; the file has %d bytes", err, len(read(t, file)))
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("there is %v (%v)", left, err)
	}
	if err := Write(dir, 0o600, nil); err == nil {
		t.Error("a folder was written")
	}
	if err := Write(filepath.Join(dir, "none", "file"), 0o600, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a folder that is not there: %v", err)
	}
}

func TestAPipeIsWrittenTo(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		text, err := os.ReadFile(pipe)
		got <- string(text) + errorText(err)
	}()
	if err := Write(pipe, 0o600, []byte("text")); err != nil {
		t.Fatal(err)
	}
	if text := <-got; text != "text" {
		t.Errorf("the reader has %q", text)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
