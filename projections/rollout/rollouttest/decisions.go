package rollouttest

// Where the design is silent, or where its text breaks a law, model and engine decide:
//
//   - A device is proven by `since` alone, which begins anew with an assignment that
//     changes the hash. A new number of the same hash changes neither that nor the
//     deadline, so a spec that goes to what is out completes without a soak.
//   - Given is whoever has the target's hash, however it came there. Its deadline begins
//     with that assignment, with the run, or when a person resumes.
//   - A device that is offline counts only if the run upset it, or if it failed.
//   - Upset and lost are said of devices that were online when it was assigned.
//   - Each judgement writes off what is lost, a failed one too: else one bricked canary
//     is all that maxUnavailable allows, and the rollback cannot begin.
//   - A rollback makes its target stable when it starts: what it goes away from is
//     trusted no more. Content that is refused is given to nobody, stable or not.
//   - A run that completed because nothing matched proves nothing: it gives its target to
//     nobody, and starts again once something matches. A slip of the selector would
//     otherwise bring what no batch has proven to the whole fleet.
//   - A pause is bound to nothing; resume, retry-failed and promote to revision, run and
//     batch; the rest to revision and run.
//   - Abort of a restart refuses nothing, for its content is the one that is out.
//   - batch_failed is noted; what follows is decided by onFailure as it is then. Until
//     that is in the log, nothing is given.
//   - A shape is what the author wrote, never what was derived.
//   - RollbackFailed and BudgetExhausted wait for a deadline since the batch began or its
//     newest device was given the target: another Deployment may hold a budget for a moment.
//   - NothingProven is due when all may be bad and are, too.
//   - maxUnavailable is spared for a name that is itself broken, a DisruptionBudget for a
//     device that is down: else one broken Deployment lets all others upset the fleet.
//   - Release changes a device once a call: whether it is down, and what is healthy on
//     it, is no longer what the fold says.
//   - What leaves does so while it is online, within all budgets, and not while anything
//     is paused. Another Deployment of the name gets the device once it is off.
//   - A run of one batch that was given to nobody, because what it depends on is nowhere,
//     or its devices went offline before that was healthy, waits: else it completes without
//     a device, and brings out what nothing has proven.
//   - The same where its online devices lack the label that is filled in. In all other runs
//     such a device is skipped. What has the run's target with a value that is not the
//     present one does not stand on it, and is owed the present one like another target,
//     also after the run.
//   - A healthy device that was away, and is back when the batch could call it flapping,
//     counts neither for nor against until it is proven again.
//   - A hold and spec.paused end with another deadline for each device.
//   - While its windows are closed a Deployment gives devices nothing but what mends one on
//     which its name is broken. What leaves by a label or the selector leaves: a person
//     asked for that. The deadlines of B11 and B13 begin anew when a window opens.
//   - A rate lets as many devices be given something at once as fit into a second, and then
//     nothing before their time is over. It counts what changes a hash, first assignments
//     too, and never a new number. It grows with assignments of the run that succeeded,
//     each counted once. Another rate begins at once. While it lets nothing be given, nothing
//     is stuck for a budget.
//   - Gates are asked while a batch waits for nothing else, and all must hold at once. What
//     a gate came to is decided as of its last answer, so time alone pauses nobody; an
//     answer that is older than two questions says nothing. A resume forgets the answers.
//   - Devices of a dependency's cycle wait. To skip them would complete the run.
