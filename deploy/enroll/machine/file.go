package machine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strconv"
)

// runner is what files need of a machine.
type runner interface {
	Run(ctx context.Context, c Command) (Result, error)
}

const exitNoFile = 66 // EX_NOINPUT

// readScript gives the content of $1.
const readScript = `[ -e "$1" ] || exit 66; cat -- "$1"`

func readFile(ctx context.Context, m runner, file string) ([]byte, error) {
	r, err := m.Run(ctx, Command{Script: readScript, Args: []string{file}})
	if err != nil {
		return nil, err
	}
	if r.Code == exitNoFile {
		return nil, fmt.Errorf("%s: %w", file, ErrNoFile)
	}
	return r.Stdout, r.Check("read " + file)
}

// writeScript writes its input to $1 with the mode $2, where the input is of $3 bytes
// and of the SHA-256 $4. A connection that breaks ends the input early, and a file that
// was cut must not take the place of a whole one: so it is checked before it is moved
// into place. $5 is where it is written first. It is in the same directory, so that the
// move is atomic, and its name is fixed, so that what was broken off leaves no litter.
const writeScript = `set -eu
umask 077
rm -f -- "$5"
trap 'rm -f -- "$5"' EXIT
trap 'exit 1' HUP INT TERM
cat >"$5"
size=$(wc -c <"$5" | tr -d ' ')
[ "$size" = "$3" ] || { echo "only $size of $3 bytes arrived" >&2; exit 1; }
if command -v sha256sum >/dev/null 2>&1; then
  sum=$(sha256sum <"$5" | cut -d ' ' -f 1)
  [ "$sum" = "$4" ] || { echo "what arrived has another checksum than what was sent" >&2; exit 1; }
fi
chown 0:0 -- "$5" 2>/dev/null || [ "$(id -u)" != 0 ]
chmod "$2" -- "$5"
sync -- "$5" 2>/dev/null || sync
mv -f -- "$5" "$1"
`

func writeFile(ctx context.Context, m runner, f File) error {
	if !path.IsAbs(f.Path) {
		return errors.New("write " + f.Path + ": the path must be absolute")
	}
	sum := sha256.Sum256(f.Content)
	dir, base := path.Split(f.Path)
	r, err := m.Run(ctx, Command{
		Script: writeScript,
		Args: []string{
			f.Path, fmt.Sprintf("%04o", f.Mode), strconv.Itoa(len(f.Content)), hex.EncodeToString(sum[:]),
			dir + "." + base + ".fleet-new",
		},
		Stdin: f.Content,
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", f.Path, err)
	}
	return r.Check("write " + f.Path)
}
