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

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/seal"
)

// proveFlags are what a person may say of prove.
type proveFlags struct {
	check, output, publicKey string
}

func newProve(s Streams, c *connection) *cobra.Command {
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
$` + envSealKey + `: a document brings its own, which proves nothing.`,
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
			return misused(errors.New("either a sequence of the log, or --check FILE"), display(s.Name)+" prove 1234")
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.StringVar(&f.check, "check", "", "a proof to check, without the log; - reads it from standard input")
	flags.StringVarP(&f.output, "output", "o", "", "file to write the proof to; default standard output")
	flags.StringVar(&f.publicKey, "public-key", "", "public key of the seals; default $"+envSealKey)
	completeFile(cmd, "check")
	completeFile(cmd, "output")
	return cmd
}

func prove(ctx context.Context, s Streams, c *connection, f proveFlags, arg string) error {
	sequence, err := strconv.ParseUint(arg, 10, 64)
	if err != nil || sequence == 0 {
		return misused(fmt.Errorf("%q is no sequence of the log", arg), "a number that "+display(s.Name)+" log shows, such as "+display(s.Name)+" prove 1234")
	}
	keys, err := trustedKeys(s, f.publicKey)
	if err != nil {
		return err
	}
	nc, js, err := c.open()
	if err != nil {
		return err
	}
	defer nc.Close()
	p := s.progress("reading the log up to the seal")
	reading, stop := c.permitted(ctx)
	defer stop()
	proof, err := seal.Prove(reading, js, sequence, seal.ProveOptions{Trusted: keys, Progress: p.report})
	p.end()
	switch {
	case errors.Is(err, seal.ErrNotInLog):
		return failed(err, "a sequence that is in it: "+display(s.Name)+" log")
	case errors.Is(err, seal.ErrNotSealed):
		return failed(err, "the same again later; if no seal comes, does an operator run, and what does its log say of seals?")
	case errors.Is(err, seal.ErrTampered):
		return failed(err, "what differs: "+display(s.Name)+" verify")
	case err != nil:
		return c.explain(err, nc)
	}
	b, err := json.MarshalIndent(proof, "", "  ")
	if err != nil {
		return failed(fmt.Errorf("encode the proof: %w", err), "")
	}
	b = append(b, '\n')
	if f.output == "" {
		if _, err := s.Out.Write(b); err != nil {
			return failed(fmt.Errorf("write: %w", err), "")
		}
		return nil
	}
	if err := os.WriteFile(f.output, b, 0o644); err != nil { //nolint:gosec // a proof is there to be given away
		return failed(fmt.Errorf("write the proof: %w", err), "another file, by -o")
	}
	s.tell("Wrote %s: the proof of event %d, by the seal of %s over %d messages.\nIt is checked by: %s prove --check %s --public-key %s\n",
		f.output, sequence, proof.Seal.SealedAt.Local().Format(clockForm), proof.Seal.TreeSize, display(s.Name), f.output, proof.Seal.PublicKey)
	return nil
}

// longestProof is more than any proof is.
const longestProof = 1 << 20

func checkProof(s Streams, stdin io.Reader, f proveFlags) error {
	keys, err := trustedKeys(s, f.publicKey)
	if err != nil {
		return err
	}
	if f.check != "-" {
		file, err := os.Open(f.check)
		if err != nil {
			return failed(fmt.Errorf("read the proof: %w", err), "a file that "+display(s.Name)+" prove 1234 -o FILE wrote")
		}
		defer file.Close()
		stdin = file
	}
	b, err := io.ReadAll(io.LimitReader(stdin, longestProof))
	if err != nil {
		return failed(fmt.Errorf("read the proof: %w", err), "")
	}
	e, signed, err := seal.CheckProof(b, keys)
	switch {
	case errors.Is(err, seal.ErrKey):
		return failed(err, "is this the key of that fleet at that time? It is named by --public-key or $"+envSealKey)
	case err != nil:
		return failed(err, "the document as "+display(s.Name)+" prove 1234 -o FILE wrote it")
	}
	s.tell("%s\n", textLine(e, eventlog.Check(e), s.Color))
	s.tell("The proof holds: this event is number %d of the %d that %s sealed at %s.\n",
		e.Sequence, signed.TreeSize, signed.PublicKey, signed.SealedAt.UTC().Format(time.RFC3339))
	if len(keys) == 0 {
		s.warn("That key is the document's own word: name the fleet's, by --public-key or $%s.\n", envSealKey)
	}
	return nil
}
