// Package refusal lists every reason for which a login is refused. A reason is one
// constant: it is the same in the server's log, in the event, in the metric and in
// the test.
package refusal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Reason names why a login is refused.
type Reason string

// The request itself.
const (
	// PlainRequest: the server did not seal the request, and the callout was not
	// told to accept that.
	PlainRequest Reason = "PlainRequest"
	// MalformedRequest: the request cannot be opened or decoded, is not addressed to
	// an auth callout, or expired longer ago than clocks may differ.
	MalformedRequest Reason = "MalformedRequest"
	// DecisionLate: the decision took longer than the deadline of a request.
	DecisionLate Reason = "DecisionLate"
	// Internal: the callout failed to make the answer. It is a fault of ours.
	Internal Reason = "Internal"
)

// What the token is.
const (
	// TokenMissing: CONNECT carries neither a token nor a user name.
	TokenMissing Reason = "TokenMissing"
	// UnknownUser: CONNECT carries a user name and no token, and no server has
	// that user in its configuration.
	UnknownUser Reason = "UnknownUser"
	// TokenTooLarge: the token is longer than 3,500 bytes.
	TokenTooLarge Reason = "TokenTooLarge"
	// TokenMalformed: the token is no JSON Web Token that can be decoded: its parts,
	// their base64 or their JSON, or a claim of another kind than the standard says.
	TokenMalformed Reason = "TokenMalformed"
	// OpaqueToken: the token is opaque, and introspection is not configured.
	OpaqueToken Reason = "OpaqueToken"
	// AlgorithmNotAllowed: the header's alg is not in the configured list.
	AlgorithmNotAllowed Reason = "AlgorithmNotAllowed"
	// HeaderNotAllowed: the header has crit, or its typ is not that of an access token.
	HeaderNotAllowed Reason = "HeaderNotAllowed"
	// KeyIDMissing: the header has no kid.
	KeyIDMissing Reason = "KeyIDMissing"
	// KeyUnknown: the provider does not publish a signing key of that kid, as of the
	// last time that its keys were read.
	KeyUnknown Reason = "KeyUnknown"
	// KeyAlgorithm: the key of that kid is published for another algorithm.
	KeyAlgorithm Reason = "KeyAlgorithm"
	// KeysTooOld: the provider's keys could not be read for longer than they may be
	// used, or never.
	KeysTooOld Reason = "KeysTooOld"
	// BadSignature: the signature is not that of the named key.
	BadSignature Reason = "BadSignature"
	// WrongIssuer: the claim iss is not the configured issuer.
	WrongIssuer Reason = "WrongIssuer"
	// WrongAudience: the claim aud does not contain our project.
	WrongAudience Reason = "WrongAudience"
	// Expired: the claim exp is now or in the past. There is no leeway.
	Expired Reason = "Expired"
	// ExpiryMissing: there is no claim exp.
	ExpiryMissing Reason = "ExpiryMissing"
	// NotYetValid: the claim nbf or iat is further in the future than the leeway.
	NotYetValid Reason = "NotYetValid"
	// SubjectMissing: the claim sub is missing or empty.
	SubjectMissing Reason = "SubjectMissing"
	// IDToken: the token has a nonce or at_hash, so it is an ID token.
	IDToken Reason = "IDToken"
	// Inactive: the provider's introspection says that the token is not active for
	// our project.
	Inactive Reason = "Inactive"
	// ProviderUnavailable: the provider is needed for this token, and does not
	// answer, or too many requests wait for it.
	ProviderUnavailable Reason = "ProviderUnavailable"
	// ProviderRefusesUs: the provider refuses the callout's own credentials. It is a
	// fault of the callout's configuration.
	ProviderRefusesUs Reason = "ProviderRefusesUs"
)

// Who it is.
const (
	// NoRole: the token is neither that of a device nor does it carry a role of our
	// project that a configured organization granted.
	NoRole Reason = "NoRole"
	// TwoKinds: the token is that of a device and of a person or service as well, or
	// of a person and a service.
	TwoKinds Reason = "TwoKinds"
	// DeviceIDMissing: the configured source gives no device id.
	DeviceIDMissing Reason = "DeviceIDMissing"
	// DeviceIDsDisagree: two claims of the token name different device ids.
	DeviceIDsDisagree Reason = "DeviceIDsDisagree"
	// BadName: the device id is no RFC 1123 label, or a person's or service's
	// subject cannot be one token of a NATS subject.
	BadName Reason = "BadName"
)

// Whether it may now.
const (
	// AccessRevoked: the last event on the identity's access subject is
	// access.revoked.
	AccessRevoked Reason = "AccessRevoked"
	// AccessUnknown: the replica has never read all access events, or could not read
	// them for longer than it may go on without.
	AccessUnknown Reason = "AccessUnknown"
	// TooManyConnects: the identity connected more often within a minute than it may.
	TooManyConnects Reason = "TooManyConnects"
	// AccountNotAllowed: the account is not one of the fixed list.
	AccountNotAllowed Reason = "AccountNotAllowed"
	// EmptyPermissions: a list of permissions is empty, which a server reads as
	// everything.
	EmptyPermissions Reason = "EmptyPermissions"
)

// Reasons lists every reason, for metrics that exist before the first refusal.
func Reasons() []Reason {
	return []Reason{
		PlainRequest, MalformedRequest, DecisionLate, Internal,
		TokenMissing, UnknownUser, TokenTooLarge, TokenMalformed, OpaqueToken, AlgorithmNotAllowed, HeaderNotAllowed,
		KeyIDMissing, KeyUnknown, KeyAlgorithm, KeysTooOld, BadSignature, WrongIssuer, WrongAudience, Expired,
		ExpiryMissing, NotYetValid, SubjectMissing, IDToken, Inactive, ProviderUnavailable, ProviderRefusesUs,
		NoRole, TwoKinds, DeviceIDMissing, DeviceIDsDisagree, BadName,
		AccessRevoked, AccessUnknown, TooManyConnects, AccountNotAllowed, EmptyPermissions,
	}
}

// Error is a refusal with its reason and one sentence for a person.
type Error struct {
	Reason  Reason
	Message string
}

// maxMessageBytes bounds a sentence: part of it may be the client's own words.
const maxMessageBytes = 400

// New makes a refusal. Arguments that come from a token are formatted with %q, so
// that they can write nothing into a log.
func New(r Reason, format string, args ...any) *Error {
	m := fmt.Sprintf(format, args...)
	if len(m) > maxMessageBytes {
		m = strings.ToValidUTF8(m[:maxMessageBytes], "") + "…"
	}
	return &Error{Reason: r, Message: m}
}

// Error says reason and sentence.
func (e *Error) Error() string { return string(e.Reason) + ": " + e.Message }

// Of gives the refusal that an error is or wraps. Any other error is Internal.
func Of(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return New(Internal, "the callout failed: %v", err)
}

// Is says whether an error is a refusal for one of the reasons.
func Is(err error, reasons ...Reason) bool {
	var e *Error
	return errors.As(err, &e) && slices.Contains(reasons, e.Reason)
}
