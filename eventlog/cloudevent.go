package eventlog

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// cloudEvent is the JSON event format of CloudEvents 1.0 (structured mode), with
// the extensions that the envelope uses. Extension names are lower case, as the
// specification's section 3.1 wants it.
type cloudEvent struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject"`
	Time            string          `json:"time"`
	Sequence        string          `json:"sequence"` // the extension "sequence" is a string
	Recorded        string          `json:"recordedtime"`
	CorrelationID   string          `json:"correlationid,omitempty"`
	CausationID     string          `json:"causationid,omitempty"`
	Actor           string          `json:"actor,omitempty"`
	Traceparent     string          `json:"traceparent,omitempty"`
	Namespace       string          `json:"fleetnamespace,omitempty"`
	Revision        string          `json:"fleetrevision,omitempty"`
	Batch           string          `json:"fleetbatch,omitempty"`
	Counter         string          `json:"fleetn,omitempty"`
	Foreign         string          `json:"foreign,omitempty"` // why the message is none of the fleet's
	DataContentType string          `json:"datacontenttype,omitempty"`
	Data            json.RawMessage `json:"data,omitempty"`
	DataBase64      string          `json:"data_base64,omitempty"`
}

// CloudEventJSON writes an event as one line of CloudEvents JSON, the form in
// which the log leaves the project. What plain KV clients leave out is filled in
// from the subject. The data is as it lies in the log, in the version that the
// type names. foreign is the error that came with the event, or nil.
func CloudEventJSON(e Event, foreign error) ([]byte, error) {
	c := cloudEvent{
		SpecVersion: specVersion, ID: e.ID, Source: e.Source, Type: CloudEventType(e.Type, e.Version), Subject: e.Subject,
		Time: e.Time.UTC().Format(time.RFC3339Nano), Recorded: e.Recorded.UTC().Format(time.RFC3339Nano),
		Sequence:      strconv.FormatUint(e.Sequence, 10),
		CorrelationID: e.CorrelationID, CausationID: e.CausationID, Actor: e.Actor, Traceparent: e.Traceparent,
		Namespace: e.Namespace,
	}
	if c.ID == "" {
		c.ID = LogStream + "-" + c.Sequence
	}
	if c.Source == "" {
		c.Source = "devices/" + e.Address.Device
	}
	if e.Type == "" {
		c.Type = typePrefix + "foreign"
	}
	if foreign != nil {
		c.Foreign = foreign.Error()
	}
	if e.Revision > 0 {
		c.Revision = strconv.FormatUint(e.Revision, 10)
	}
	if e.Batch > 0 {
		c.Batch = strconv.Itoa(e.Batch)
	}
	if e.Counter.Epoch != "" {
		c.Counter = e.Counter.String()
	}
	switch {
	case len(e.Data) == 0:
	case json.Valid(e.Data):
		c.DataContentType, c.Data = "application/json", e.Data
	default:
		c.DataContentType, c.DataBase64 = "application/octet-stream", base64.StdEncoding.EncodeToString(e.Data)
	}
	b, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode event %d: %w", e.Sequence, err)
	}
	return b, nil
}
