package systemdtest

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog/needs"
)

//go:embed image.sh
var recipe []byte

// imageTimeout bounds the making of the image, which downloads 150 packages and takes a
// minute and a half.
const imageTimeout = 10 * time.Minute

// rootFileSystem gives the tar file of a device's root file system. It is made once and
// kept in the user's cache directory under the checksum of its recipe; what older
// recipes made is removed.
func rootFileSystem(t testing.TB) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "fleet-devices")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(recipe)
	file := filepath.Join(dir, hex.EncodeToString(sum[:8])+".tar")
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close() // the lock goes with it
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err == nil {
		return file
	}
	needs.Program(t, "mmdebstrap", "apt-get install mmdebstrap")
	old, err := filepath.Glob(filepath.Join(dir, "*.tar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range old {
		if err := os.Remove(o); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("make the devices' image %s (two minutes, once)", file)
	script := filepath.Join(t.TempDir(), "image.sh")
	if err := os.WriteFile(script, recipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), imageTimeout)
	defer cancel()
	made := filepath.Join(dir, "new.tar")
	if out, err := exec.CommandContext(ctx, "sh", script, made).CombinedOutput(); err != nil {
		t.Fatalf("make the devices' image: %v\n%s", err, out)
	}
	if err := os.Rename(made, file); err != nil {
		t.Fatal(err)
	}
	return file
}
