package render

import (
	"encoding/json"
	"fmt"

	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/deploy/fleetctl/cli"
)

// Outputs of commands that print objects.
const (
	OutputTable = "table"
	outputWide  = "wide"
	OutputYAML  = "yaml"
	outputName  = "name"
)

// Outputs lists the outputs that get has.
func Outputs() []string {
	return []string{OutputTable, outputWide, OutputJSON, OutputYAML, outputName}
}

// Document writes a value for machines. ok is false where the output is none of
// theirs.
func Document(s cli.Streams, output string, v any) (ok bool, err error) {
	switch output {
	case OutputJSON:
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return true, cli.Failed(fmt.Errorf("encode the answer: %w", err), "")
		}
		s.Tell("%s\n", b)
		return true, nil
	case OutputYAML:
		b, err := yaml.Marshal(v)
		if err != nil {
			return true, cli.Failed(fmt.Errorf("encode the answer: %w", err), "")
		}
		s.Tell("%s", b)
		return true, nil
	}
	return false, nil
}

// CheckOutput refuses outputs that a command has not.
func CheckOutput(output string) error {
	switch output {
	case "", OutputText, OutputJSON, OutputYAML:
		return nil
	}
	return cli.Misused(fmt.Errorf("unknown output %q; -o takes text, json or yaml", output), "-o json")
}
