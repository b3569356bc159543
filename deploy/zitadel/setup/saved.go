package setup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"fleet.nationtech.io/deploy/secretfile"
)

// savedFile is beside the keys. It has no secret.
const savedFile = "provider.json"

// Saved is what a fleet must know of its provider.
type Saved struct {
	Issuer             string `json:"issuer"`
	Project            string `json:"project"`
	DeviceOrganization string `json:"device_organization"`
	PeopleOrganization string `json:"people_organization"`
	CLIClient          string `json:"cli_client_id,omitempty"`
	DashboardClient    string `json:"dashboard_client_id,omitempty"`
	DashboardURL       string `json:"dashboard_url,omitempty"`
}

// AccountKeyFile is the key, in the directory of the keys, of the account that makes
// devices' users.
func AccountKeyFile(dir string) string { return filepath.Join(dir, accountFile) }

// CAFile is the provider's certificate authority in the directory of the keys, where the
// provider has one of its own.
func CAFile(dir string) string { return filepath.Join(dir, "provider-ca.crt") }

// Save writes what a fleet must know of its provider into the directory of the keys, and
// the certificate authority of the provider, in PEM, where it has one of its own.
func (o Outcome) Save(dir, issuer string, ca []byte) error {
	if len(ca) > 0 {
		if err := secretfile.Write(CAFile(dir), ca); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(Saved{
		Issuer: issuer, Project: o.Project, DeviceOrganization: o.DeviceOrganization, PeopleOrganization: o.PeopleOrganization,
		CLIClient: o.CLIClient, DashboardClient: o.DashboardClient, DashboardURL: o.DashboardURL,
	}, "", "  ")
	if err != nil {
		return err
	}
	return secretfile.Write(filepath.Join(dir, savedFile), append(text, '\n'))
}

// Load reads what Save wrote, and the key by which the callout asks about opaque
// tokens.
//
// Errors: a file that is missing or torn, with its name.
func Load(dir string) (Saved, []byte, error) {
	var s Saved
	path := filepath.Join(dir, savedFile)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, nil, fmt.Errorf("%s is not there: fleetctl zitadel setup --out %s writes it", path, dir)
	case err != nil:
		return s, nil, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, nil, fmt.Errorf("%s: %w", path, err)
	}
	if s.Issuer == "" || s.Project == "" || s.DeviceOrganization == "" || s.PeopleOrganization == "" {
		return s, nil, fmt.Errorf("%s lacks the issuer, the project or an organization: fleetctl zitadel setup --out %s writes it", path, dir)
	}
	key, err := os.ReadFile(filepath.Join(dir, calloutFile))
	return s, key, err
}
