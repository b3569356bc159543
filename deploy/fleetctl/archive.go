package fleetctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/backup"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/phrase"
	"fleet.nationtech.io/projections/archive"
)

// archiveFlags are the flags of archive.
type archiveFlags struct {
	check, force bool
	publicKey    string
	output       string
	backupFlags
}

func newArchive(s cli.Streams, c *query.Connection) *cobra.Command {
	var f archiveFlags
	cmd := &cobra.Command{
		Use:   "archive FILE | DIRECTORY | s3://BUCKET/PREFIX",
		Short: "Put the whole event log into one file that can be restored, or into a place for backups",
		Long: `Put the whole event log into one file that can be restored.

The file holds every event with its sequence, its time, its headers and its data,
as the NATS server's own snapshot gives them, compressed, with a SHA-256 of each
part and of the whole, and a manifest that says what is in it. It is a tar file:
its parts in the order of their names are a stream's backup of the nats tool, so
it can be restored without this program too. Nobody is disturbed meanwhile; what
happens from here on is in the next archive.

Until it is whole the file is called FILE.part. Where the connection is lost, it
starts again by itself, a few times. Run the same command again to resume after an
interruption (Ctrl-C, a full disk): it reads and checks what FILE.part has of the same
log, and does not write that again. The server can only send the log from its
beginning, so that saves the disk, not the network.

--check reads a file to its end, offline, and says whether it is as it was
written, and whether the seals in it (fleetctl verify) vouch for its events;
restore checks the file too before it touches anything.

Into a directory, or an S3-compatible store, archive makes a backup. It names the file
itself (fleet-LOG-TIME.archive), checks it with its seals, stores it, reads it back from
the place and compares it, and marks it as verified (NAME.verified). Then it removes
what --keep and --keep-for let go: verified archives of the same log that are neither
among the newest so many nor younger than that. It never removes the newest verified
one, and no file of another name. It removes nothing where a backup fails, or where an
older archive has events that the log has lost since. For a store the archive is made
in --work-dir first. One backup at a time uses a work directory.

The store's settings come from the environment, as other tools for S3 read it:
$` + backup.EnvEndpoint + ` (https://s3.example.org), $` + backup.EnvRegion + `, $` + backup.EnvCA + `, and the
credentials $` + backup.EnvAccessKey + ` and $` + backup.EnvSecretKey + `, or a file:
$` + backup.EnvFile + `.

For a CronJob: the exit code is 0 once the archive is verified; 4 where it is, and an
older one could not be removed or has events that the log has lost; 2 where the command
line or the store's URL is wrong; else 1. -o json says when, how large and what was
removed.

An archive can hold secrets: whatever people put into Deployments is in the log.
Only its owner can read it (mode 0600). It takes the whole JetStream API.`,
		Example: `  fleetctl archive fleet-$(date +%F).archive
  fleetctl archive --check fleet-2026-11-24.archive
  fleetctl archive /backups/ --keep 7 --keep-for 720h -o json
  fleetctl archive s3://backups/fleet --keep 7 --keep-for 720h -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			write, err := render.ArchiveWriter(s, f.output)
			if err != nil {
				return cli.Misused(err, "-o text or -o json")
			}
			place := backup.IsPlace(args[0])
			if err := f.backupFlags.check(place && !f.check); err != nil {
				return err
			}
			switch {
			case f.check && place:
				return withFetched(cmd.Context(), s, args[0], f.workDir, func(file string) error {
					return checkArchive(cmd.Context(), s, file, f.publicKey, write)
				})
			case place:
				return backupLog(cmd.Context(), s, c, args[0], f)
			}
			if f.check {
				return checkArchive(cmd.Context(), s, args[0], f.publicKey, write)
			}
			return archiveLog(cmd.Context(), s, c, args[0], f, write)
		},
	}
	cmd.Flags().BoolVar(&f.check, "check", false, "only say whether FILE is whole and sound; needs no server")
	cmd.Flags().StringVar(&f.publicKey, "public-key", "", "with --check, or for a backup: public key of the seals; default $"+query.EnvSealKey)
	cmd.Flags().BoolVar(&f.force, "force", false, "replace FILE where it is there")
	f.bind(cmd)
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "text or json: the manifest, or what came of the backup (default text)")
	complete.Flag(cmd, "output", complete.Words([]string{render.OutputText, render.OutputJSON}))
	return cmd
}

func archiveLog(ctx context.Context, s cli.Streams, c *query.Connection, file string, f archiveFlags, write func(archive.Index, string) error) error {
	nc, _, err := c.OpenAdmin("archive")
	if err != nil {
		return err
	}
	defer nc.Close()
	p := render.NewProgress(s, "archiving the log")
	made, err := archive.Create(ctx, nc, file, archive.CreateOptions{
		Replace: f.force, Now: s.Now, Progress: p.Report,
		Kept: func(n int) {
			p.End()
			s.Warn("%s already has %s of this log; they are not written again\n", archive.PartialOf(file), phrase.Count(n, "part", "parts"))
		},
		Lost: func(err error) {
			p.End()
			s.Warn("%v; archiving starts again\n", err)
		},
	})
	p.End()
	if err != nil {
		return explainArchive(c, err, nc, file)
	}
	return write(made.Index, "")
}

func checkArchive(ctx context.Context, s cli.Streams, file, publicKey string, write func(archive.Index, string) error) error {
	keys, err := query.TrustedKeys(s, publicKey)
	if err != nil {
		return err
	}
	p := render.NewProgress(s, "checking "+file)
	m, err := archive.Check(ctx, file, archive.CheckOptions{Progress: p.Report})
	p.End()
	if err != nil {
		return explainFile(err)
	}
	p = render.NewProgress(s, "checking the seals")
	sealed, err := archive.CheckSeals(ctx, file, m, keys, p.Report)
	p.End()
	if err != nil {
		return explainFile(err)
	}
	how := ""
	if sealed.Seals > 0 {
		how = fmt.Sprintf("%s, which hold; ", phrase.Count(sealed.Seals, "seal", "seals"))
	}
	return write(m, how)
}

// explainArchive says what to try where archiving or restoring failed.
func explainArchive(c *query.Connection, err error, nc *nats.Conn, file string) error {
	switch {
	case errors.Is(err, context.Canceled):
		return cli.Interrupted("run the same command again to resume")
	case errors.Is(err, archive.ErrNotPermitted):
		return cli.Failed(fmt.Errorf("user %q: %w", c.User, err), "another --user: the operator's, or the administrator's of NATS; with fleet-dev that of .fleet/env may")
	case errors.Is(err, archive.ErrExists):
		return cli.Failed(err, "another name; or --force, to replace it")
	case errors.Is(err, archive.ErrBusy):
		return cli.Failed(err, "wait for it, or another name")
	case errors.Is(err, archive.ErrEmpty):
		return cli.Failed(err, "is this the right server? "+c.URL)
	case errors.Is(err, archive.ErrLost):
		return cli.Failed(err, "run the same command again to resume. Is the server up? "+c.URL)
	case errors.Is(err, logstream.ErrRestoring):
		return cli.Failed(err, "")
	case isDiskFull(err):
		return cli.Failed(err, "make room, then run the same command again: "+archive.PartialOf(file)+" keeps what is written")
	case errors.Is(err, archive.ErrDamaged), errors.Is(err, archive.ErrNotArchive), errors.Is(err, archive.ErrNewer), isOfFile(err):
		return explainFile(err)
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return c.Explain(err, nc)
	}
	return cli.Failed(err, "")
}

func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EFBIG) || errors.Is(err, syscall.EDQUOT)
}

func isOfFile(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p)
}

// explainFile says what to try where a file is the trouble.
func explainFile(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return cli.Interrupted("")
	case errors.Is(err, archive.ErrDamaged):
		return cli.Failed(err, "another copy of it, or an older archive: nothing is restored out of one that is damaged")
	case errors.Is(err, archive.ErrSeal):
		return cli.Failed(err, "another copy of it, or an older archive: somebody changed the events, or sealed with another key (--public-key)")
	case errors.Is(err, archive.ErrNotArchive):
		return cli.Failed(err, "a file that fleetctl archive wrote")
	case errors.Is(err, archive.ErrNewer):
		return cli.Failed(err, "the fleetctl that wrote it, or a later one")
	case errors.Is(err, fs.ErrNotExist):
		return cli.Failed(err, "a path that is there")
	case errors.Is(err, fs.ErrPermission):
		return cli.Failed(err, "a file and a directory that you may use")
	}
	return cli.Failed(err, "")
}
