package refusal

// Remedy is a reason in plain words, and what to do about it.
type Remedy struct {
	Means string
	Do    string
}

// Remedy explains a reason to a person. It is empty for one that this version does
// not know.
func (r Reason) Remedy() Remedy { return remedies()[r] }

// remedies has one for each reason. docs/identity.md says the same in fewer words.
func remedies() map[Reason]Remedy {
	const (
		ours     = "look at the logs of fleet-callout"
		provider = "is the provider up, and can the callout reach it? Its metrics and /readyz say so"
	)
	return map[Reason]Remedy{
		PlainRequest:     {"the NATS server asked the callout without sealing the request", "set auth_callout.xkey in the server's configuration"},
		MalformedRequest: {"the NATS server's request to the callout could not be read", "compare issuer and xkey of the servers with the callout's seeds, and set the machines' clocks"},
		DecisionLate:     {"the callout took too long to decide", "add callout replicas, or see why the provider is slow"},
		Internal:         {"the callout failed", ours},

		TokenMissing:        {"it showed no token", `set mode = "zitadel-jwt" in the agent's config.toml`},
		UnknownUser:         {"it showed a user that no server has", "correct the user, or add it to the servers' configuration and to auth_users"},
		TokenTooLarge:       {"its token is longer than NATS takes", "ask for fewer scopes, or shorten the user's metadata"},
		TokenMalformed:      {"its token cannot be read", "compare the provider's settings with docs/identity.md"},
		OpaqueToken:         {"its token is opaque", "set the user's access token type to JWT at the provider"},
		AlgorithmNotAllowed: {"its token is signed by an algorithm that is not allowed", "add the algorithm to the callout's --algorithms, if the provider uses it"},
		HeaderNotAllowed:    {"its token is not an access token", "show the access token, and no other"},
		KeyIDMissing:        {"its token names no key", "compare the provider's settings with docs/identity.md"},
		KeyUnknown:          {"its token is signed by a key that the provider does not publish", "wait 10 s if the provider changed its keys just now; else the token is of another provider: correct auth.issuer"},
		KeyAlgorithm:        {"its token is signed by another algorithm than its key is for", "compare the provider's settings with docs/identity.md"},
		KeysTooOld:          {"the callout could not read the provider's keys for too long", provider},
		BadSignature:        {"its token is forged or damaged: the signature is wrong", "look for who tries that; a device's own token cannot become so"},
		WrongIssuer:         {"its token is of another issuer", "compare auth.issuer with the callout's --issuer, byte by byte: no slash at the end"},
		WrongAudience:       {"its token is not for this fleet's project", "correct auth.project_id in the agent's config.toml"},
		Expired:             {"its token had ended", "set the device's clock, and see in the agent's log why it gets no new token"},
		ExpiryMissing:       {"its token has no end", "compare the provider's settings with docs/identity.md"},
		NotYetValid:         {"its token is not valid yet", "set the clocks of the provider and of the callout"},
		SubjectMissing:      {"its token names nobody", "compare the provider's settings with docs/identity.md"},
		IDToken:             {"it showed an ID token", "show the access token"},
		Inactive:            {"the provider says that its token is not active", "is its user active, and is the callout's application in this fleet's project?"},
		ProviderUnavailable: {"the callout needed the provider and got no answer", provider},
		ProviderRefusesUs:   {"the provider refuses the callout itself", "give the callout a new key file of its application"},

		NoRole:            {"its user is not of the devices' organization, and has no role of this fleet", "create the machine user in the devices' organization, or grant it role device"},
		TwoKinds:          {"its user is a device and a person (or service) at once", "take one of the two roles from the user"},
		DeviceIDMissing:   {"its token names no device id where the callout looks for it", "set what --device-id of the callout names (sub, device_id or metadata) at the machine user"},
		DeviceIDsDisagree: {"its token names two devices", "correct the claim or metadata device_id of the machine user"},
		BadName:           {"its id cannot be the name of a device", "create the machine user with lower-case letters, digits and '-' alone"},

		AccessRevoked:     {"its access is revoked", "allow it again, if that is right: fleetctl device allow ID"},
		AccessUnknown:     {"the callout could not read whose access is revoked", "is the event log there? The callout's log says what it could not read"},
		TooManyConnects:   {"it connected too often within a minute", "is its identity in use on a second machine? Else see why its agent reconnects"},
		AccountNotAllowed: {"its role leads to an account that tokens must not enter", "correct --roles of the callout"},
		EmptyPermissions:  {"its role permits nothing", "correct --roles of the callout"},
	}
}
