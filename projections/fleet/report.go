package fleet

import "fleet.nationtech.io/eventlog"

// decodeReport reads what the fold keeps of a state.reported.
func decodeReport(e eventlog.Event) (eventlog.DeploymentState, error) { return e.Report() }
