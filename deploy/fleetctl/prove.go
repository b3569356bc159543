package fleetctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/seal"
)

// proveFlags are the flags of prove.
type proveFlags struct {
	check, output, publicKey string
}

func newProve(s cli.Streams, c *query.Connection) *cobra.Command {
	var f proveFlags
	cmd := &cobra.Command{
		Use:   "prove SEQUENCE | --check FILE",
		Short: "Prove that an event is in the log, or check such a proof",
		Long: `Prove that an event is in the log, or check such a proof.

A proof is one JSON document: the event as the log has it, the path from it to the
head of the tree that a seal signs (RFC 6962), and the seal. It is checked without
the log, without NATS and without this fleet, by the public key alone; docs/proof.md
says how to do it by hand.

--check says what the document proves. Name the key, by --public-key or
$` + query.EnvSealKey + `: a document brings its own, which proves nothing.`,
		Example: `  fleetctl prove 1234 -o event-1234.json
  fleetctl prove --check event-1234.json --public-key UAB7…
  fleetctl prove 1234 | fleetctl prove --check -`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case f.check != "" && len(args) == 0 && f.output == "":
				return checkProof(s, cmd.InOrStdin(), f)
			case f.check == "" && len(args) == 1:
				return prove(cmd.Context(), s, c, f, args[0])
			}
			return cli.Misused(errors.New("give either a sequence of the log or --check FILE"), s.Program()+" prove 1234")
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.StringVar(&f.check, "check", "", "a proof to check, without the log; - reads it from standard input")
	flags.StringVarP(&f.output, "output", "o", "", "file to write the proof to; default standard output")
	flags.StringVar(&f.publicKey, "public-key", "", "public key of the seals; default $"+query.EnvSealKey)
	complete.File(cmd, "check")
	complete.File(cmd, "output")
	return cmd
}

func prove(ctx context.Context, s cli.Streams, c *query.Connection, f proveFlags, arg string) error {
	sequence, err := strconv.ParseUint(arg, 10, 64)
	if err != nil || sequence == 0 {
		return cli.Misused(fmt.Errorf("%q is not a sequence of the log", arg), "a number that "+s.Program()+" log shows, such as "+s.Program()+" prove 1234")
	}
	keys, err := query.TrustedKeys(s, f.publicKey)
	if err != nil {
		return err
	}
	nc, js, err := c.Open()
	if err != nil {
		return err
	}
	defer nc.Close()
	p := render.NewProgress(s, "reading the log up to the seal")
	reading, stop := c.Permitted(ctx)
	defer stop()
	proof, err := seal.Prove(reading, js, sequence, seal.ProveOptions{Trusted: keys, Progress: p.Report})
	p.End()
	switch {
	case errors.Is(err, seal.ErrNotInLog):
		return cli.Failed(err, "a sequence that is in it: "+s.Program()+" log")
	case errors.Is(err, seal.ErrNotSealed):
		return cli.Failed(err, "run the same command again later; if no seal comes, see the operator's log")
	case errors.Is(err, seal.ErrTampered):
		return cli.Failed(err, "what differs: "+s.Program()+" verify")
	case err != nil:
		return c.Explain(err, nc)
	}
	b, err := json.MarshalIndent(proof, "", "  ")
	if err != nil {
		return cli.Failed(fmt.Errorf("encode the proof: %w", err), "")
	}
	b = append(b, '\n')
	if f.output == "" {
		if _, err := s.Out.Write(b); err != nil {
			return cli.Failed(fmt.Errorf("write: %w", err), "")
		}
		return nil
	}
	if err := os.WriteFile(f.output, b, 0o644); err != nil { //nolint:gosec // a proof is there to be given away
		return cli.Failed(fmt.Errorf("write the proof: %w", err), "another file, by -o")
	}
	s.Tell("Wrote %s: the proof of event %d, by the seal of %s over %d messages.\nIt is checked by: %s prove --check %s --public-key %s\n",
		f.output, sequence, proof.Seal.SealedAt.Local().Format(render.TimeLayout), proof.Seal.TreeSize, s.Program(), f.output, proof.Seal.PublicKey)
	return nil
}

// maxProofBytes is more than any proof is.
const maxProofBytes = 1 << 20

func checkProof(s cli.Streams, stdin io.Reader, f proveFlags) error {
	keys, err := query.TrustedKeys(s, f.publicKey)
	if err != nil {
		return err
	}
	if f.check != "-" {
		file, err := os.Open(f.check)
		if err != nil {
			return cli.Failed(fmt.Errorf("read the proof: %w", err), "a file that "+s.Program()+" prove 1234 -o FILE wrote")
		}
		defer file.Close()
		stdin = file
	}
	b, err := io.ReadAll(io.LimitReader(stdin, maxProofBytes))
	if err != nil {
		return cli.Failed(fmt.Errorf("read the proof: %w", err), "")
	}
	e, signed, err := seal.CheckProof(b, keys)
	switch {
	case errors.Is(err, seal.ErrKey):
		return cli.Failed(err, "is this the key of that fleet at that time? It is named by --public-key or $"+query.EnvSealKey)
	case err != nil:
		return cli.Failed(err, "the document as "+s.Program()+" prove 1234 -o FILE wrote it")
	}
	s.Tell("%s\n", render.EventLine(e, eventlog.Check(e), s.Color))
	s.Tell("The proof holds: this event is number %d of the %d that %s sealed at %s.\n",
		e.Sequence, signed.TreeSize, signed.PublicKey, signed.SealedAt.UTC().Format(time.RFC3339))
	if len(keys) == 0 {
		s.Warn("That key is the document's own word: name the fleet's, by --public-key or $%s.\n", query.EnvSealKey)
	}
	return nil
}
