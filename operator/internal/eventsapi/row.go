package eventsapi

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"time"
	"unicode/utf8"

	"fleet.nationtech.io/eventlog"
)

// Row is one event, flat: a table has a column for each field. Fields that an event does
// not have are left out.
type Row struct {
	Sequence uint64 `json:"sequence"`
	Time     string `json:"time"`     // when the log got it
	Occurred string `json:"occurred"` // when it happened, by the writer's clock
	Type     string `json:"type"`
	Family   string `json:"family"`
	Subject  string `json:"subject"`

	Namespace  string `json:"namespace,omitempty"`
	Deployment string `json:"deployment,omitempty"`
	Device     string `json:"device,omitempty"`
	Budget     string `json:"budget,omitempty"`

	Actor    string `json:"actor,omitempty"` // who asked for it, where a person did
	Reason   string `json:"reason,omitempty"`
	Message  string `json:"message,omitempty"`
	Verb     string `json:"verb,omitempty"`
	Phase    string `json:"phase,omitempty"` // that a device reports
	Kind     string `json:"kind,omitempty"`  // of the run
	Strategy string `json:"strategy,omitempty"`
	Revision uint64 `json:"revision,omitempty"`
	Run      uint64 `json:"run,omitempty"`
	Batch    int    `json:"batch,omitempty"`
	Batches  int    `json:"batches,omitempty"`
	Devices  int    `json:"devices,omitempty"` // that matched

	// Of the batch that was judged.
	Given   int `json:"given,omitempty"`
	Proven  int `json:"proven,omitempty"`
	Bad     int `json:"bad,omitempty"`
	Allowed int `json:"allowed,omitempty"` // may be bad

	ID            string `json:"id,omitempty"`
	CorrelationID string `json:"correlation_id,omitempty"`
	CausationID   string `json:"causation_id,omitempty"`
	TraceID       string `json:"trace_id,omitempty"` // 32 hexadecimal digits
	Foreign       string `json:"foreign,omitempty"`  // why the message is none of the fleet's

	// Data is the payload, where it was asked for: as JSON, or where it is none as a
	// string of base64.
	Data json.RawMessage `json:"data,omitempty"`
}

// told are the fields of payloads that are columns, of whatever type of event. Scores are
// not among them.
type told struct {
	Reason      string                  `json:"reason"`
	Message     string                  `json:"message"`
	Error       string                  `json:"error"`
	LastError   string                  `json:"last_error"`
	ChangeCause string                  `json:"change_cause"`
	Verb        string                  `json:"verb"`
	Phase       string                  `json:"phase"`
	Kind        string                  `json:"kind"`
	Strategy    string                  `json:"strategy"`
	Deployment  string                  `json:"deployment"`
	Revision    uint64                  `json:"revision"`
	Run         uint64                  `json:"run"`
	Batch       int                     `json:"batch"`
	Devices     int                     `json:"devices"`
	Batches     []struct{}              `json:"batches"`
	Counts      *eventlog.RolloutCounts `json:"counts"`
	RequestedBy eventlog.Requester      `json:"requested_by"`
}

// maxText bounds a column in bytes.
const maxText = 1 << 10

// rowOf gives an event as a row. foreign is the error that came with it, or nil.
func rowOf(e *eventlog.Event, foreign error, data bool) Row {
	r := Row{
		Sequence: e.Sequence, Time: moment(e.Recorded), Occurred: moment(e.Time), Type: string(e.Type), Family: string(e.Address.Family), Subject: e.Subject,
		Namespace: cmp.Or(e.Address.Namespace, e.Namespace), Device: e.Address.Device, Deployment: e.Address.Deployment,
		Actor: text(cmp.Or(e.Actor, e.Address.User)), Revision: e.Revision, Batch: e.Batch,
		ID: text(e.ID), CorrelationID: text(e.CorrelationID), CausationID: text(e.CausationID), TraceID: e.TraceID(),
	}
	switch e.Address.Family {
	case eventlog.FamilyDeployment, eventlog.FamilyRequest:
		r.Deployment = e.Address.Name
	case eventlog.FamilyBudget:
		r.Budget = e.Address.Name
	}
	if foreign != nil {
		r.Foreign = text(foreign.Error())
	}
	if len(e.Data) > 0 && e.Address.Family != eventlog.FamilyDesired { // whose payload is a score
		r.read(e)
	}
	if data && len(e.Data) > 0 {
		if r.Data = e.Data; !json.Valid(e.Data) {
			r.Data = []byte(`"` + base64.StdEncoding.EncodeToString(e.Data) + `"`)
		}
	}
	return r
}

// row takes of an event what is asked for.
func (q *query) row(e *eventlog.Event, foreign error) (Row, int) {
	r := rowOf(e, foreign, q.data)
	return r, len(r.Data)
}

// read takes what there are columns for out of the payload. A field of another type than
// it should have is as one that is not there.
func (r *Row) read(e *eventlog.Event) {
	var t told
	_ = json.Unmarshal(e.Data, &t) // it reads what it can
	r.Reason, r.Verb, r.Phase, r.Kind, r.Strategy = text(t.Reason), text(t.Verb), text(t.Phase), text(t.Kind), text(t.Strategy)
	r.Message = text(cmp.Or(t.Message, t.Error, t.LastError, t.ChangeCause))
	r.Actor = cmp.Or(r.Actor, text(t.RequestedBy.Name))
	r.Deployment = cmp.Or(r.Deployment, text(t.Deployment))
	r.Revision, r.Batch = cmp.Or(r.Revision, t.Revision), cmp.Or(r.Batch, t.Batch)
	r.Run, r.Batches, r.Devices = t.Run, len(t.Batches), t.Devices
	if e.Type == eventlog.RolloutStarted {
		r.Run = e.Sequence
	}
	if n := t.Counts; n != nil {
		r.Given, r.Proven, r.Bad, r.Allowed = n.Given, n.Proven, n.Bad, n.Allowed
	}
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// text bounds what somebody wrote.
func text(s string) string {
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + " …"
}
