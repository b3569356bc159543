package fleetctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/backup"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/projections/archive"
)

// backupFlags are the flags of archive where it makes a backup.
type backupFlags struct {
	keep    int
	keepFor time.Duration
	workDir string
}

func (f *backupFlags) bind(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.keep, "keep", 0, "of a backup: keep the newest so many verified archives; 0 with --keep-for 0: keep all")
	cmd.Flags().DurationVar(&f.keepFor, "keep-for", 0, "of a backup: keep verified archives that are younger, such as 720h")
	cmd.Flags().StringVar(&f.workDir, "work-dir", "", "of a backup: directory where the archive is made, for one backup at a time; default: the directory that it goes to, and for a store one of your own below the system's for temporary files. Of --check: where an archive is fetched to")
}

// check refuses flags that contradict each other. making says that a backup is made.
func (f *backupFlags) check(making bool) error {
	switch {
	case f.keep < 0 || f.keepFor < 0:
		return cli.Misused(errors.New("--keep and --keep-for must be 0 or more"), "--keep 7 --keep-for 720h")
	case !making && (f.keep > 0 || f.keepFor > 0):
		return cli.Misused(errors.New("--keep and --keep-for go with a backup: into a directory or a store"), "fleetctl archive /backups/ --keep 7")
	}
	return nil
}

func backupLog(ctx context.Context, s cli.Streams, c *query.Connection, target string, f archiveFlags) error {
	place, name, err := backup.Open(target, s.Getenv)
	switch {
	case err != nil:
		return explainPlace(err)
	case name != "":
		return cli.Misused(fmt.Errorf("a backup gets its name from fleetctl; %s is one", name), s.Program()+" archive s3://bucket/prefix")
	}
	keys, err := query.TrustedKeys(s, f.publicKey)
	if err != nil {
		return err
	}
	nc, _, err := c.OpenAdmin("archive")
	if err != nil {
		return err
	}
	defer nc.Close()
	report, end := render.StepProgress[backup.Step](s)
	out, err := backup.Run(ctx, nc, place, backup.Options{
		Archive: archive.CreateOptions{Lost: func(err error) {
			end()
			s.Warn("%v; archiving starts again\n", err)
		}},
		Retention: backup.Retention{Count: f.keep, Age: f.keepFor}, WorkDir: f.workDir, Seals: keys, Now: s.Now, Progress: report,
	})
	end()
	stands := errors.Is(err, backup.ErrNotRemoved) || errors.Is(err, backup.ErrWentBack)
	if err != nil && !stands {
		return explainBackup(c, err, nc, out)
	}
	if err := writeBackup(s, out, f.output); err != nil {
		return err
	}
	switch {
	case errors.Is(err, backup.ErrWentBack):
		return cli.FailedWith(cli.ExitForeign, err, "move that archive and its .verified file to another place: it alone has those events. Until it is gone no backup removes an archive")
	case err != nil:
		return cli.FailedWith(cli.ExitForeign, err, "let the user read and remove files there, or remove it by hand; the new archive is whole and verified")
	}
	return nil
}

// backedUp is what came of a backup, as -o json writes it.
type backedUp struct {
	Place        string           `json:"place"`
	Name         string           `json:"name"`
	Verified     bool             `json:"verified"` // always: what is not is an error
	SHA256       string           `json:"sha256"`   // of the whole file
	Size         int64            `json:"size"`
	LogID        string           `json:"log_id"`
	Events       uint64           `json:"events"`
	LastSequence uint64           `json:"last_sequence"`
	LastTime     time.Time        `json:"last_time"`
	Created      time.Time        `json:"created"`
	Seals        int              `json:"seals"`
	Seconds      float64          `json:"duration_seconds"`
	Removed      []string         `json:"removed"`
	Archives     []backup.Archive `json:"archives"` // that are there now, the newest first
}

func writeBackup(s cli.Streams, r backup.Result, output string) error {
	if output == render.OutputJSON {
		b, err := json.MarshalIndent(backedUp{
			Place: r.Place, Name: r.Name, Verified: true, SHA256: r.SHA256, Size: r.Archive.Size, LogID: r.Archive.LogID, Events: r.Archive.Messages,
			LastSequence: r.Archive.Last.Sequence, LastTime: r.Archive.Last.Time, Created: r.Archive.Created, Seals: r.Seals.Seals, Seconds: r.Duration.Seconds(),
			Removed: append([]string{}, r.Removed...), Archives: append([]backup.Archive{}, r.Remain...),
		}, "", "  ")
		if err != nil {
			return cli.Failed(err, "")
		}
		s.Tell("%s\n", b)
		return nil
	}
	s.Tell("The backup is verified: %s in %s: log %s, %s.\n", r.Name, r.Place, r.Archive.LogID, render.ArchiveRange(r.Archive))
	for _, n := range r.Removed {
		s.Tell("  removed  %s\n", n)
	}
	s.Tell("  there    %s\n", render.Plural(uint64(len(r.Remain)), "archive", "archives"))
	return nil
}

// withFetched calls then with the file of an archive. Where target names a place, that is
// a copy of the newest verified archive there, or of the one that it names.
func withFetched(ctx context.Context, s cli.Streams, target, workDir string, then func(file string) error) (err error) {
	if !backup.IsPlace(target) {
		return then(target)
	}
	place, name, err := backup.Open(target, s.Getenv)
	if err != nil {
		return explainPlace(err)
	}
	if name == "" {
		newest, err := backup.Newest(ctx, place)
		if err != nil {
			return explainPlace(err)
		}
		name = newest.Name
		s.Warn("%s is the newest verified archive in %s\n", name, place)
	}
	report, end := render.StepProgress[backup.Step](s)
	if d, ok := place.(backup.Directory); ok {
		err := backup.Compare(ctx, place, name, func(done, total uint64) { report(backup.StepCompare, done, total) })
		end()
		if err != nil {
			return explainPlace(err)
		}
		return then(filepath.Join(string(d), name))
	}
	dir, err := os.MkdirTemp(workDir, "fleet-archive-")
	if err != nil {
		return cli.Failed(err, "--work-dir with a directory that you may write to")
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, name)
	err = backup.Fetch(ctx, place, name, file, func(done, total uint64) { report(backup.StepFetch, done, total) })
	end()
	if err != nil {
		return explainPlace(err)
	}
	return then(file)
}

// explainBackup says what to try where a backup failed.
func explainBackup(c *query.Connection, err error, nc *nats.Conn, out backup.Result) error {
	switch {
	case errors.Is(err, archive.ErrBusy):
		return cli.Failed(err, "wait for it, or --work-dir with another directory")
	case errors.Is(err, archive.ErrDamaged):
		return cli.Failed(err, "run the same command again: it writes what is damaged again. Is the disk of the work directory sound?")
	case errors.Is(err, archive.ErrSeal):
		return cli.Failed(err, "keep the older archives, and look at the log: fleetctl verify. Or is it sealed with another key (--public-key)?")
	case isDiskFull(err) && out.Name != "":
		return cli.Failed(err, "make room in "+out.Place+", then run the same command again: "+out.Working+" keeps what is written")
	case out.Name != "" || isOfPlace(err):
		return explainPlace(err)
	}
	return explainArchive(c, err, nc, out.Working)
}

func isOfPlace(err error) bool {
	for _, of := range []error{backup.ErrDenied, backup.ErrMissing, backup.ErrNoPlace, backup.ErrUnreachable, backup.ErrFailed, backup.ErrSettings, backup.ErrCredentials} {
		if errors.Is(err, of) {
			return true
		}
	}
	return false
}

// explainPlace says what to try where a place for backups is the trouble.
func explainPlace(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return cli.Interrupted("run the same command again")
	case errors.Is(err, backup.ErrSettings):
		return cli.Misused(err, "s3://bucket/prefix, and $"+backup.EnvEndpoint+"=https://s3.example.org")
	case errors.Is(err, backup.ErrCredentials):
		return cli.Failed(err, "$"+backup.EnvAccessKey+" and $"+backup.EnvSecretKey+", or $"+backup.EnvFile+" with a file that has them, and $"+backup.EnvProfile+" with the name of its profile")
	case errors.Is(err, backup.ErrFailed):
		return cli.Failed(err, "is the store full, or busy? Run the same command again: nothing was removed")
	case errors.Is(err, backup.ErrNoPlace):
		return cli.Failed(err, "make it first; fleetctl makes no bucket and no directory")
	case errors.Is(err, backup.ErrDenied):
		return cli.Failed(err, "$"+backup.EnvAccessKey+" and $"+backup.EnvSecretKey+", or $"+backup.EnvFile+", of a user who may list, read, write and remove objects there; and is $"+backup.EnvRegion+" right?")
	case errors.Is(err, backup.ErrUnreachable):
		return cli.Failed(err, "is $"+backup.EnvEndpoint+" right, and $"+backup.EnvCA+" where the CA is your own? Run the same command again: nothing was removed")
	case errors.Is(err, backup.ErrNotVerified):
		return cli.Failed(err, "the store, or what is between it and here, changes files: run the same command again, and keep the older archives")
	case errors.Is(err, backup.ErrNone):
		return cli.Failed(err, "another place, or name the archive: s3://bucket/prefix/NAME, or its path")
	case errors.Is(err, backup.ErrAmbiguous):
		return cli.Failed(err, "name the archive: s3://bucket/prefix/NAME, or its path")
	case errors.Is(err, backup.ErrMissing):
		return cli.Failed(err, "a name that is there")
	case errors.Is(err, archive.ErrDamaged), errors.Is(err, archive.ErrSeal), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return explainFile(err)
	}
	return cli.Failed(err, "")
}
