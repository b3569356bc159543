package fleetctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/projections/archive"
)

// archiveFlags are what a person may say of archive.
type archiveFlags struct {
	check, force bool
	publicKey    string
	output       string
}

func newArchive(s Streams, c *connection) *cobra.Command {
	var f archiveFlags
	cmd := &cobra.Command{
		Use:   "archive FILE",
		Short: "Put the whole event log into one file that can be restored",
		Long: `Put the whole event log into one file that can be restored.

The file holds every event with its sequence, its time, its headers and its data,
as the NATS server's own snapshot gives them, compressed, with a SHA-256 of each
part and of the whole, and a manifest that says what is in it. It is a tar file:
its parts in the order of their names are a stream's backup of the nats tool, so
it can be restored without this program too. Nobody is disturbed meanwhile; what
happens from here on is in the next archive.

Until it is whole the file is called FILE.part. Where the connection is lost, it
begins again by itself, a few times. What is cut short (Ctrl-C, a full disk) is
gone on with by the same command: what FILE.part has of the same log is read and
checked, and not written again. The server can only send the log from its
beginning, so that saves the disk, not the network.

--check reads a file to its end, offline, and says whether it is as it was
written, and whether the seals in it (fleetctl verify) vouch for its events;
restore checks the file too before it touches anything.

An archive can hold secrets: whatever people put into Deployments is in the log.
Only its owner can read it (mode 0600). It takes the whole JetStream API.`,
		Example: `  fleetctl archive fleet-$(date +%F).archive
  fleetctl archive --check fleet-2026-11-24.archive`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			write, err := manifestWriter(s, f.output)
			if err != nil {
				return misused(err, "-o text or -o json")
			}
			if f.check {
				return checkArchive(cmd.Context(), s, args[0], f.publicKey, write)
			}
			return archiveLog(cmd.Context(), s, c, args[0], f, write)
		},
	}
	cmd.Flags().BoolVar(&f.check, "check", false, "only say whether FILE is whole and sound; needs no server")
	cmd.Flags().StringVar(&f.publicKey, "public-key", "", "with --check: public key of the seals; default $"+envSealKey)
	cmd.Flags().BoolVar(&f.force, "force", false, "replace FILE where it is there")
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "text or json, the manifest (default text)")
	completeFlag(cmd, "output", fixed([]string{outputText, outputJSON}))
	return cmd
}

func archiveLog(ctx context.Context, s Streams, c *connection, file string, f archiveFlags, write func(archive.Index, string) error) error {
	if stat, err := os.Stat(file); err == nil && stat.IsDir() {
		return misused(fmt.Errorf("%s is a directory", file), display(s.Name)+" archive "+filepath.Join(file, "fleet.archive"))
	}
	nc, _, err := c.open()
	if err != nil {
		return err
	}
	defer nc.Close()
	p := s.progress("archiving the log")
	made, err := archive.Create(ctx, nc, file, archive.CreateOptions{
		Replace: f.force, Now: s.Now, Progress: p.report,
		Kept: func(n int) {
			p.end()
			s.warn("%s has %s of this log: what comes again is not written again\n", archive.PartialOf(file), count(n, "part", "parts"))
		},
		Lost: func(err error) {
			p.end()
			s.warn("%v: it begins again\n", err)
		},
	})
	p.end()
	if err != nil {
		return c.explainArchive(err, nc, file)
	}
	return write(made.Index, "")
}

func checkArchive(ctx context.Context, s Streams, file, publicKey string, write func(archive.Index, string) error) error {
	keys, err := trustedKeys(s, publicKey)
	if err != nil {
		return err
	}
	p := s.progress("checking " + file)
	m, err := archive.Check(ctx, file, archive.CheckOptions{Progress: p.report})
	p.end()
	if err != nil {
		return explainFile(err)
	}
	p = s.progress("checking the seals")
	sealed, err := archive.CheckSeals(ctx, file, m, keys, p.report)
	p.end()
	if err != nil {
		return explainFile(err)
	}
	how := ""
	if sealed.Seals > 0 {
		how = fmt.Sprintf("%s, which hold; ", count(sealed.Seals, "seal", "seals"))
	}
	return write(m, how)
}

// manifestWriter says what is in an archive, and how its seals are.
func manifestWriter(s Streams, output string) (func(m archive.Index, seals string) error, error) {
	switch output {
	case outputJSON:
		return func(m archive.Index, _ string) error {
			b, err := json.MarshalIndent(m, "", "  ")
			if err != nil {
				return failed(err, "")
			}
			s.tell("%s\n", b)
			return nil
		}, nil
	case "", outputText:
		return func(m archive.Index, seals string) error {
			s.tell("The archive is whole: log %s, %s.\n", m.LogID, upTo(m))
			s.tell("  %-8s %s in %s, as of %s\n", "events", bytesOf(m.Bytes), bytesOf(uint64(m.Size)), m.Created.Local().Format(time.DateTime))
			s.tell("  %-8s %s\n", "seals", seals+sealed(m.Seal))
			s.tell("  %-8s %s\n", "SHA-256", m.ID)
			return nil
		}, nil
	}
	return nil, fmt.Errorf("output %q is not known", output)
}

// upTo says how far an archive goes.
func upTo(m archive.Index) string {
	return fmt.Sprintf("%d events, %d to %d, from %s to %s", m.Messages, m.First.Sequence, m.Last.Sequence,
		m.First.Time.Local().Format(time.DateTime), m.Last.Time.Local().Format(time.DateTime))
}

func sealed(seal *archive.Seal) string {
	if seal == nil {
		return "none: nothing but the SHA-256 vouches for it"
	}
	return fmt.Sprintf("the last covers events up to %d, by key %s", seal.Sequence, printable(seal.PublicKey))
}

// bytesOf says a size for people.
func bytesOf(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v := float64(n)
	for v >= 1024 && len(units) > 1 {
		v, units = v/1024, units[1:]
	}
	if units[0] == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[0])
}

// explainArchive says what to try where archiving or restoring failed.
func (c *connection) explainArchive(err error, nc *nats.Conn, file string) error {
	switch {
	case errors.Is(err, context.Canceled):
		return &failure{err: errors.New("interrupted"), try: "the same command again: it goes on", code: ExitInterrupted}
	case errors.Is(err, archive.ErrNotPermitted):
		return failed(fmt.Errorf("user %q: %w", c.user, err), "another --user: the operator's, or that of whoever runs NATS; with fleet-dev that of .fleet/env may")
	case errors.Is(err, archive.ErrExists):
		return failed(err, "another name; or --force, to replace it")
	case errors.Is(err, archive.ErrBusy):
		return failed(err, "wait for it, or another name")
	case errors.Is(err, archive.ErrEmpty):
		return failed(err, "is this the right server? "+c.url)
	case errors.Is(err, archive.ErrLost):
		return failed(err, "the same command again: it goes on. Is the server up? "+c.url)
	case errors.Is(err, logstream.ErrRestoring):
		return failed(err, "")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EFBIG), errors.Is(err, syscall.EDQUOT):
		return failed(err, "make room, and the same command again: "+archive.PartialOf(file)+" keeps what is written")
	case errors.Is(err, archive.ErrDamaged), errors.Is(err, archive.ErrNotArchive), errors.Is(err, archive.ErrNewer), isOfFile(err):
		return explainFile(err)
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return c.explain(err, nc)
	}
	return failed(err, "")
}

func isOfFile(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p)
}

// explainFile says what to try where a file is the trouble.
func explainFile(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return &failure{err: errors.New("interrupted"), code: ExitInterrupted}
	case errors.Is(err, archive.ErrDamaged):
		return failed(err, "another copy of it, or an older archive: nothing is restored out of one that is damaged")
	case errors.Is(err, archive.ErrSeal):
		return failed(err, "another copy of it, or an older archive: somebody changed the events, or sealed with another key (--public-key)")
	case errors.Is(err, archive.ErrNotArchive):
		return failed(err, "a file that fleetctl archive wrote")
	case errors.Is(err, archive.ErrNewer):
		return failed(err, "the fleetctl that wrote it, or a later one")
	case errors.Is(err, fs.ErrNotExist):
		return failed(err, "a path that is there")
	case errors.Is(err, fs.ErrPermission):
		return failed(err, "a file and a directory that you may use")
	}
	return failed(err, "")
}
