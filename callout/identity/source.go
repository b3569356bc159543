package identity

import (
	"fmt"
	"regexp"
	"strings"

	"fleet.nationtech.io/callout/claims"
	"fleet.nationtech.io/callout/refusal"
)

// Source is where a device's id stands in its token. The zero Source is sub.
type Source struct {
	kind     sourceKind
	metadata string         // key
	pattern  *regexp.Regexp // of a user name, with the id as its one group
}

type sourceKind string

const (
	fromSubject  sourceKind = ""
	fromClaim    sourceKind = "device_id"
	fromMetadata sourceKind = "metadata:"
	fromUsername sourceKind = "username:"
)

// ParseSource reads a source: "sub", "device_id" (the claim), "metadata:<key>", or
// "username:<pattern>", a regular expression of the whole user name with the id as
// its one group.
func ParseSource(s string) (Source, error) {
	switch {
	case s == "" || s == "sub":
		return Source{}, nil
	case s == string(fromClaim):
		return Source{kind: fromClaim}, nil
	case strings.HasPrefix(s, string(fromMetadata)) && len(s) > len(fromMetadata):
		return Source{kind: fromMetadata, metadata: s[len(fromMetadata):]}, nil
	case strings.HasPrefix(s, string(fromUsername)):
		p, err := regexp.Compile(`^(?:` + s[len(fromUsername):] + `)$`)
		if err != nil {
			return Source{}, fmt.Errorf("device id source %q: %w", s, err)
		}
		if p.NumSubexp() != 1 {
			return Source{}, fmt.Errorf("device id source %q: the pattern needs one group, which is the id, such as username:fleet-(.+)", s)
		}
		return Source{kind: fromUsername, pattern: p}, nil
	}
	return Source{}, fmt.Errorf("device id source %q must be sub, device_id, metadata:<key> or username:<pattern>", s)
}

// String is the form that ParseSource reads.
func (s Source) String() string {
	switch s.kind {
	case fromMetadata:
		return string(s.kind) + s.metadata
	case fromUsername:
		return string(s.kind) + strings.TrimSuffix(strings.TrimPrefix(s.pattern.String(), "^(?:"), ")$")
	case fromSubject:
		return "sub"
	}
	return string(s.kind)
}

// read gives the id from the configured place alone. Another place that names a
// device's id expressly must not name another device.
func (s Source) read(c claims.Claims) (string, error) {
	var id string
	switch s.kind {
	case fromSubject:
		id = c.Subject
	case fromClaim:
		id = c.DeviceID
	case fromMetadata:
		id = c.Metadata[s.metadata]
	case fromUsername:
		name := c.Username // of introspection; a JWT has it as client_id
		if name == "" {
			name = c.ClientID
		}
		if m := s.pattern.FindStringSubmatch(name); m != nil {
			id = m[1]
		}
	}
	if id == "" {
		return "", refusal.New(refusal.DeviceIDMissing, "the token of a device names no device id in %s, which is the configured source", s)
	}
	for place, other := range map[string]string{
		"the claim " + claims.DeviceID:     c.DeviceID,
		"the metadata " + claims.DeviceID:  c.Metadata[claims.DeviceID],
		"the metadata " + s.metadata + " ": c.Metadata[s.metadata],
	} {
		if other != "" && other != id {
			return "", refusal.New(refusal.DeviceIDsDisagree, "the token names the device %.80q in %s and %.80q in %s", id, s, other, strings.TrimSpace(place))
		}
	}
	return id, nil
}
