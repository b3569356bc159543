package eventlog

// Trouble is something that went wrong for an agent, which goes on by itself and counts it.
type Trouble string

// The troubles. docs/metrics.md says what a person does about each.
const (
	TroubleDrift         Trouble = "Drift"
	TroubleFailedCheck   Trouble = "FailedCheck"
	TroubleRejected      Trouble = "Rejected"
	TroubleLiveGap       Trouble = "LiveGap"
	TroubleFailedSync    Trouble = "FailedSync"
	TroubleReportRetry   Trouble = "ReportRetry"
	TroubleRefusedReport Trouble = "RefusedReport"
	TroubleDroppedEvent  Trouble = "DroppedEvent"
	TroubleRefusedToken  Trouble = "RefusedToken"
)

// Troubles are all of them.
func Troubles() []Trouble {
	return []Trouble{
		TroubleDrift, TroubleFailedCheck, TroubleRejected, TroubleLiveGap, TroubleFailedSync, TroubleReportRetry, TroubleRefusedReport,
		TroubleDroppedEvent, TroubleRefusedToken,
	}
}

// Of is how often an agent had the trouble in its run.
func (t Trouble) Of(f *AgentFigures) uint64 {
	switch t {
	case TroubleDrift:
		return f.Drifts
	case TroubleFailedCheck:
		return f.FailedChecks
	case TroubleRejected:
		return f.Rejected
	case TroubleLiveGap:
		return f.LiveGaps
	case TroubleFailedSync:
		return f.FailedSyncs
	case TroubleReportRetry:
		return f.ReportRetries
	case TroubleRefusedReport:
		return f.RefusedReports
	case TroubleDroppedEvent:
		return f.DroppedEvents
	case TroubleRefusedToken:
		return f.RefusedTokens
	}
	return 0
}

// Means is what one of them was, in a sentence.
func (t Trouble) Means() string {
	switch t {
	case TroubleDrift:
		return "a container was found otherwise than it was left"
	case TroubleFailedCheck:
		return "a health check failed"
	case TroubleRejected:
		return "the agent rejected a message that it did not believe"
	case TroubleLiveGap:
		return "the agent missed a live value, and asked for all"
	case TroubleFailedSync:
		return "a question for the desired state got no whole answer"
	case TroubleReportRetry:
		return "a report got no acknowledgement, and was sent again"
	case TroubleRefusedReport:
		return "the agent dropped a report that the log will never take"
	case TroubleDroppedEvent:
		return "the agent dropped an event of its journal"
	case TroubleRefusedToken:
		return "a server refused the agent's token"
	}
	return ""
}
