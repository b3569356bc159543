package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

func TestParseOptions(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		want Options
		err  string
	}{
		"a data directory is enough": {
			args: []string{"--data-dir", "/d"},
			want: Options{DataDir: "/d", Kubeconfig: "/d/kubeconfig"},
		},
		"everything is taken as given": {
			args: []string{"--data-dir=/d", "--kubeconfig=/k", "--port=6443", "--exit-with-stdin", "--no-fsync", "-v", "2"},
			want: Options{DataDir: "/d", Kubeconfig: "/k", Port: 6443, ExitWithStdin: true, NoFsync: true, Verbosity: 2},
		},
		"without a data directory it is refused": {err: "--data-dir is required"},
		"an unknown flag is refused":             {args: []string{"--data-dir=/d", "--nope"}, err: "unknown flag: --nope"},
		"an argument is refused":                 {args: []string{"--data-dir=/d", "start"}, err: `unexpected argument "start"`},
		"a port out of range is refused":         {args: []string{"--data-dir=/d", "--port=70000"}, err: "not between 0 and 65535"},
		"a negative verbosity is refused":        {args: []string{"--data-dir=/d", "-v=-1"}, err: "is negative"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parseOptions(test.args, io.Discard)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || !errors.Is(err, errUsage) {
					t.Fatalf("error %v, want a usage error with %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLockIsExclusiveAndWaitsForOneOnItsWayOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := lockDataDir(t.Context(), dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockDataDir(t.Context(), dir, 0); !errors.Is(err, errDataDirInUse) {
		t.Fatalf("second lock: %v, want errDataDirInUse", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lockDataDir(canceled, dir, time.Minute); !errors.Is(err, context.Canceled) {
		t.Fatalf("a canceled wait: %v", err)
	}
	released := make(chan error, 1)
	time.AfterFunc(100*time.Millisecond, func() { released <- first.release() })
	second, err := lockDataDir(t.Context(), dir, 10*time.Second)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	if err := errors.Join(<-released, second.release()); err != nil {
		t.Error(err)
	}
}

func TestListenKeepsToItsPort(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, port, err := listen(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, samePort, err := listen(dir, 0)
	if err != nil || samePort != port {
		t.Fatalf("the remembered port %d became %d (%v)", port, samePort, err)
	}
	defer again.Close()
	other, otherPort, err := listen(dir, 0)
	if err != nil || otherPort == port {
		t.Fatalf("a taken port %d was not replaced: %d (%v)", port, otherPort, err)
	}
	defer other.Close()
	if _, _, err := listen(dir, port); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a wanted port that is taken: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, portFile), []byte("spoiled"), 0o600); err != nil {
		t.Fatal(err)
	}
	fresh, freshPort, err := listen(dir, 0)
	if err != nil || freshPort == 0 {
		t.Fatalf("with a spoiled file: %d, %v", freshPort, err)
	}
	defer fresh.Close()
}

func TestEtcdSocketFitsEveryDataDirectory(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	tests := map[string]struct {
		dir   string
		short bool
	}{
		"a short one holds it":                   {dir: "/var/lib/kubeapi"},
		"a long one does not":                    {dir: "/" + strings.Repeat("d", 120), short: true},
		"nor one with a comma":                   {dir: "/a,b", short: true},
		"nor one that a URL would have to quote": {dir: "/a b%20?", short: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			socket, err := newEtcdSocket(test.dir, filepath.Join("/tmp", strings.Repeat("t", 100)), temp, "/tmp")
			if err != nil {
				t.Fatal(err)
			}
			if got := socket.shortDir != ""; got != test.short {
				t.Errorf("short directory %q", socket.shortDir)
			}
			if len(socket.path) > maxSocketPath {
				t.Errorf("%d bytes: %s", len(socket.path), socket.path)
			}
			listener, err := net.Listen("unix", socket.path)
			if test.short && err != nil {
				t.Fatal(err)
			}
			if test.short {
				listener.(*net.UnixListener).SetUnlinkOnClose(false)
				if err := errors.Join(listener.Close(), socket.remove()); err != nil {
					t.Fatal(err)
				}
				absent(t, socket.shortDir)
			}
		})
	}
}

func TestForeignSocketDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	temp, dir := t.TempDir(), "/"+strings.Repeat("d", 120)
	socket, err := newEtcdSocket(dir, temp, "/tmp")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(socket.shortDir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = newEtcdSocket(dir, filepath.Dir(socket.shortDir))
	if err == nil || !strings.Contains(err.Error(), "not a private directory") {
		t.Errorf("a directory that others can enter: %v", err)
	}
	if err := socket.remove(); err != nil {
		t.Error(err)
	}
}

func TestCredentialsAreKeptAndRepaired(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := ensureCredentials(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	again, err := ensureCredentials(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if first != again {
		t.Error("the credentials changed though nothing was wrong with them")
	}
	if err := os.WriteFile(first.tokenFile, []byte("half a li"), 0o600); err != nil {
		t.Fatal(err)
	}
	// A process that was killed between the two files of a pair.
	if err := errors.Join(os.MkdirAll(first.certDir, 0o700), os.WriteFile(first.caFile(), []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	repaired, err := ensureCredentials(dir, time.Now())
	if err != nil || len(repaired.token) != 64 {
		t.Errorf("token %q (%v)", repaired.token, err)
	}
	absent(t, first.caFile())
}

func TestKubeconfigOfOthersIsNotRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	foreign := api.NewConfig()
	foreign.Clusters["production"] = &api.Cluster{Server: "https://example.org"}
	encoded, err := clientcmd.Write(*foreign)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		content []byte
		err     string
	}{
		"another cluster's": {content: encoded, err: `holds the cluster "production"`},
		"something else":    {content: []byte("\tx: ["), err: "is not a kubeconfig"},
		"an empty file":     {content: nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			if err := os.WriteFile(path, test.content, 0o600); err != nil {
				t.Fatal(err)
			}
			err := removeStaleKubeconfig(path)
			if test.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				absent(t, path)
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("the file is gone: %v", err)
			}
		})
	}
}

func TestQuietLogShowsWhatMatters(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := &quietLog{out: &out}
	filtered := warningsOnly{log}
	write := func(entry string) {
		t.Helper()
		if _, err := io.WriteString(filtered, entry); err != nil {
			t.Fatal(err)
		}
	}
	write("W starting\n")
	log.setLoud(true)
	write("I chatter\n")
	write("W news\n")
	log.setLoud(false)
	write(strings.Repeat("x", keptLog))
	write("E why it failed\n")
	if diff := cmp.Diff("W news\n", out.String()); diff != "" {
		t.Errorf("shown while loud (-want +got):\n%s", diff)
	}
	if err := log.showKept(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.HasSuffix(got, "E why it failed\n") || len(got) != len("W news\n")+keptLog {
		t.Errorf("shown after a failure: %d bytes, ending %q", len(got), got[len(got)-20:])
	}
}
