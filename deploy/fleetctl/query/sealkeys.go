package query

import (
	"fmt"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/projections/seal"
)

// EnvSealKey is the public key that seals are signed by, as fleet-dev writes it.
const EnvSealKey = "FLEET_SEAL_KEY"

// TrustedKeys reads the flag, or else the environment. None is said to trust any.
func TrustedKeys(s cli.Streams, flag string) (seal.Keys, error) {
	if flag == "" {
		flag = s.Getenv(EnvSealKey)
	}
	keys, err := seal.ParseKeys(flag)
	if err != nil {
		return nil, cli.Misused(fmt.Errorf("--public-key: %w", err), "the operator says its key when it starts, and fleet-dev writes it to .fleet/env")
	}
	return keys, nil
}
