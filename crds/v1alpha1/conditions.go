package v1alpha1

// Types of conditions.
const (
	// ConditionReady on a Deployment says whether the devices it matches run it.
	ConditionReady = "Ready"
	// ConditionUnknownFields on a Deployment says that its score has fields that
	// this version does not know; it is absent where it has none.
	ConditionUnknownFields = "UnknownFields"
	// ConditionOnline on a Device says whether its pulse is heard.
	ConditionOnline = "Online"
	// ConditionDuplicateIdentity on a Device says that two machines report
	// under its one identity.
	ConditionDuplicateIdentity = "DuplicateIdentity"
)

// Reasons of a Deployment's condition Ready. The predicates use the words of
// docs/status.md: matched = succeeded + failed + pending.
const (
	// ReasonAllSucceeded (True): at least one device matches and each succeeded.
	ReasonAllSucceeded = "AllSucceeded"
	// ReasonOnlineSucceeded (True): at least one device succeeded, and those that
	// didn't are all offline.
	ReasonOnlineSucceeded = "OnlineSucceeded"
	// ReasonNoDeviceMatches (True): the selector matches no device.
	ReasonNoDeviceMatches = "NoDeviceMatches"
	// ReasonProgressing (False): an online device is pending, and none failed.
	ReasonProgressing = "Progressing"
	// ReasonDeviceFailed (False): at least one online device failed.
	ReasonDeviceFailed = "DeviceFailed"
	// ReasonAllOffline (False): devices match, none succeeded, all are offline.
	ReasonAllOffline = "AllOffline"
	// ReasonNameConflict (False): on at least one device a Deployment of the same
	// name in another namespace holds the place.
	ReasonNameConflict = "NameConflict"
	// ReasonUnsupportedScore (False): the operator doesn't know the score's type
	// or can't read its data.
	ReasonUnsupportedScore = "UnsupportedScore"
	// ReasonInvalidScore (False): no device could run the score; the API refuses
	// such, so this shows only on objects stored before a rule existed.
	ReasonInvalidScore = "InvalidScore"
	// ReasonInvalidSelector (False): targetSelector isn't one; the API refuses
	// such, so this shows only on objects stored before a rule existed.
	ReasonInvalidSelector = "InvalidSelector"
	// ReasonTooLarge (False): the score, or the selector, is larger than the event
	// log takes. What devices run stays.
	ReasonTooLarge = "TooLarge"
	// ReasonDecisionFailed (False): the operator can't record what follows from
	// the object. What devices run stays.
	ReasonDecisionFailed = "DecisionFailed"
	// ReasonDeleting (False): the Deployment is being deleted; the operator
	// withdraws it from its devices.
	ReasonDeleting = "Deleting"
	// ReasonNewGeneration (Unknown): the spec has changed and nothing is known
	// about the new one yet.
	ReasonNewGeneration = "NewGeneration"
)

// ReasonNotKnown (True) is the reason of the condition UnknownFields: the message
// names the fields. They are kept and sent to the devices, and may be misspelt.
const ReasonNotKnown = "NotKnown"
