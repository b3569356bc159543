package keyfile

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestWhatAFileSystemRefusesIsExplained(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err  error
		says string
	}{
		"the disk is full":                 {syscall.ENOSPC, "the disk that holds /etc/fleet-agent is full: free some space"},
		"the quota is used up":             {syscall.EDQUOT, "is full"},
		"the unit's sandbox is read-only":  {syscall.EROFS, "ReadWritePaths=/etc/fleet-agent"},
		"the user may not":                 {syscall.EACCES, "run it as root"},
		"the directory is missing":         {syscall.ENOENT, "mkdir -m 0700 /etc/fleet-agent"},
		"anything else is told as it came": {syscall.EIO, "input/output error"},
	} {
		err := explain("keep the new key", "/etc/fleet-agent/zitadel-key.json", &os.PathError{Op: "open", Path: "x", Err: tc.err})
		if !strings.Contains(err.Error(), tc.says) || !errors.Is(err, tc.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
