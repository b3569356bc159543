package render

import (
	"encoding/json"
	"fmt"
	"time"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/projections/archive"
)

// ArchiveWriter says what is in an archive, and how its seals are.
func ArchiveWriter(s cli.Streams, output string) (func(m archive.Index, seals string) error, error) {
	switch output {
	case OutputJSON:
		return func(m archive.Index, _ string) error {
			b, err := json.MarshalIndent(m, "", "  ")
			if err != nil {
				return cli.Failed(err, "")
			}
			s.Tell("%s\n", b)
			return nil
		}, nil
	case "", OutputText:
		return func(m archive.Index, seals string) error {
			s.Tell("The archive is whole: log %s, %s.\n", m.LogID, ArchiveRange(m))
			s.Tell("  %-8s %s in %s, as of %s\n", "events", bytesOf(m.Bytes), bytesOf(uint64(m.Size)), m.Created.Local().Format(time.DateTime))
			s.Tell("  %-8s %s\n", "seals", seals+sealed(m.Seal))
			s.Tell("  %-8s %s\n", "SHA-256", m.ID)
			return nil
		}, nil
	}
	return nil, fmt.Errorf("unknown output %q; -o takes text or json", output)
}

// ArchiveRange says how far an archive goes.
func ArchiveRange(m archive.Index) string {
	return fmt.Sprintf("%d events, %d to %d, from %s to %s", m.Messages, m.First.Sequence, m.Last.Sequence,
		m.First.Time.Local().Format(time.DateTime), m.Last.Time.Local().Format(time.DateTime))
}

func sealed(seal *archive.Seal) string {
	if seal == nil {
		return "none: nothing but the SHA-256 vouches for it"
	}
	return fmt.Sprintf("the last covers events up to %d, by key %s", seal.Sequence, Printable(seal.PublicKey))
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
