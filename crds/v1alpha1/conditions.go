package v1alpha1

// Types of conditions.
const (
	// ConditionReady on a Deployment says whether the devices it matches run it, on a
	// DisruptionBudget whether it holds.
	ConditionReady = "Ready"
	// ConditionProgressing on a Deployment says for a person whether its rollout goes
	// on, and what it waits for.
	ConditionProgressing = "Progressing"
	// ConditionReconciling on a Deployment is True while its rollout progresses, and
	// absent otherwise: kstatus, and so Flux and Helm, read it as "in progress".
	ConditionReconciling = "Reconciling"
	// ConditionStalled on a Deployment is True where somebody has to look, and absent
	// otherwise: nothing goes on without a person; or, with the reason
	// AwaitingDependencies, a batch has waited for another Deployment for a whole
	// progressDeadline, and goes on by itself once that is healthy. kstatus reads it as
	// "failed".
	ConditionStalled = "Stalled"
	// ConditionNameConflict on a Deployment says that on some devices a Deployment of
	// the same name in another namespace holds the place; it is absent where none does.
	ConditionNameConflict = "NameConflict"
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
	// ReasonInvalidRollout (False): spec.rollout cannot be used, such as windows that never
	// open. What devices run stays.
	ReasonInvalidRollout = "InvalidRollout"
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

// Reasons of status.rollout and of the conditions Progressing, Reconciling and
// Stalled. Where Ready is False because of the rollout, it has the same reason.
// docs/rollouts.md says what a person does about each.
const (
	// ReasonCompleted: the last batch succeeded, or no device matches.
	ReasonCompleted = "Completed"
	// ReasonPaused: spec.rollout.paused is true.
	ReasonPaused = "Paused"
	// ReasonRequested: a person holds the rollout, by a request to pause it.
	ReasonRequested = "Requested"
	// ReasonBatchFailed: more devices of the batch failed than successThreshold allows.
	ReasonBatchFailed = "BatchFailed"
	// ReasonNothingProven: for one progressDeadline, no device of the batch could be
	// given the change, so nothing proves it.
	ReasonNothingProven = "NothingProven"
	// ReasonBudgetExhausted: for one progressDeadline, maxUnavailable or a
	// DisruptionBudget let no device be given the change.
	ReasonBudgetExhausted = "BudgetExhausted"
	// ReasonOfflineDevices: offlineDevices is Wait, and a device of the batch stayed
	// offline for one progressDeadline.
	ReasonOfflineDevices = "OfflineDevices"
	// ReasonGateFailed: for one progressDeadline, a gate of the batch was answered with
	// values that it does not let pass.
	ReasonGateFailed = "GateFailed"
	// ReasonGateUnanswered: for one progressDeadline, a gate of the batch was not answered
	// with a value.
	ReasonGateUnanswered = "GateUnanswered"
	// ReasonRollingBack: the devices are given back what ran before.
	ReasonRollingBack = "RollingBack"
	// ReasonRolledBack: the devices run what ran before, and the spec's content is not
	// tried again until it changes or a person says so.
	ReasonRolledBack = "RolledBack"
	// ReasonRollbackFailed: devices fail on what they were given back, too.
	ReasonRollbackFailed = "RollbackFailed"
	// ReasonNothingToRollBackTo: a batch failed, onFailure is Rollback, and no other
	// content ever completed.
	ReasonNothingToRollBackTo = "NothingToRollBackTo"
	// ReasonAborted: a person ended the rollout.
	ReasonAborted = "Aborted"
	// ReasonPinMatchesNothing: the selector of a batch matches none of the devices.
	ReasonPinMatchesNothing = "PinMatchesNothing"
	// ReasonLogRestored: the event log was restored from an archive, and a person has
	// to look before the rollout goes on.
	ReasonLogRestored = "LogRestored"
	// ReasonPlanChanged: sizes or selectors of the batches changed, so the rollout
	// began again.
	ReasonPlanChanged = "PlanChanged"
	// ReasonAwaitingApproval: the batch succeeded, and a person has to let the rollout
	// go on.
	ReasonAwaitingApproval = "AwaitingApproval"
	// ReasonApproverUnknown: the batch has fourEyes, and who asked for the change or
	// who let it go on is not known for certain.
	ReasonApproverUnknown = "ApproverUnknown"
	// ReasonAwaitingSoak: devices of the batch are healthy, and not for a whole soak yet.
	ReasonAwaitingSoak = "AwaitingSoak"
	// ReasonAwaitingDevices: devices of the batch are at work on the change.
	ReasonAwaitingDevices = "AwaitingDevices"
	// ReasonAwaitingBudget: devices wait until maxUnavailable or a DisruptionBudget
	// has room.
	ReasonAwaitingBudget = "AwaitingBudget"
	// ReasonAwaitingWindow: the rollout goes on once its next window opens.
	ReasonAwaitingWindow = "AwaitingWindow"
	// ReasonAwaitingRate: devices wait for spec.rollout.rate.
	ReasonAwaitingRate = "AwaitingRate"
	// ReasonAwaitingGate: the devices of the batch are through, and a gate of it does not
	// hold.
	ReasonAwaitingGate = "AwaitingGate"
	// ReasonAwaitingDependencies: devices wait until a Deployment of dependsOn is
	// healthy on them.
	ReasonAwaitingDependencies = "AwaitingDependencies"
	// ReasonDependencyCycle: Deployments depend on each other in a circle; none of
	// them is given to a device.
	ReasonDependencyCycle = "DependencyCycle"
)

// Reasons for which a device is skipped by a rollout. NameConflict is another one.
const (
	// ReasonDependencyMissing: a Deployment of dependsOn is not assigned to the device.
	ReasonDependencyMissing = "DependencyMissing"
	// ReasonNoDeviceObject: the device has the Deployment, and no Device object.
	ReasonNoDeviceObject = "NoDeviceObject"
	// ReasonTemplateValueMissing: the device has no label that the score names in
	// $(device.labels.KEY), or only one that it reports itself where that is not enough. It
	// keeps what it has. It is a reason of Ready and Stalled, too.
	ReasonTemplateValueMissing = "TemplateValueMissing"
	// ReasonTemplateValueInvalid: filled in with the device's labels, the score is one that
	// the device would refuse.
	ReasonTemplateValueInvalid = "TemplateValueInvalid"
)

// Reasons of a DisruptionBudget's condition Ready.
const (
	// ReasonInForce (True): the budget is in the event log, and holds.
	ReasonInForce = "InForce"
	// ReasonNotRecorded (Unknown): the newest spec is not in the event log yet.
	ReasonNotRecorded = "NotRecorded"
	// ReasonInvalidBudget (False): the spec cannot be used, so the budget bounds
	// nothing; the API refuses such, so this shows only on objects stored before a
	// rule existed.
	ReasonInvalidBudget = "InvalidBudget"
)
