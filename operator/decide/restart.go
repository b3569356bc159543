package decide

import (
	"encoding/json"
	"fmt"
	"strconv"

	"fleet.nationtech.io/eventlog"
)

// LabelRestart is the label of containers whose value a restart raises. It is not among
// the labels that agents keep for themselves, so that agents of every version take it.
const LabelRestart = "rollout.nationtech.io/restart"

// restarted gives a score whose containers differ from the given one's by their restart
// alone: the label of each service is set to the number.
func restarted(score []byte, number uint64) ([]byte, error) {
	tagged, err := eventlog.DecodeScore(score)
	if err != nil {
		return nil, err
	}
	var data map[string]json.RawMessage
	var services []map[string]json.RawMessage
	if err := json.Unmarshal(tagged.Data, &data); err != nil {
		return nil, fmt.Errorf("read the score's data: %w", err)
	}
	if err := json.Unmarshal(data["services"], &services); err != nil {
		return nil, fmt.Errorf("read the score's services: %w", err)
	}
	for _, s := range services {
		labels := map[string]string{}
		if raw := s["labels"]; len(raw) > 0 {
			if err := json.Unmarshal(raw, &labels); err != nil {
				return nil, fmt.Errorf("read a service's labels: %w", err)
			}
		}
		labels[LabelRestart] = strconv.FormatUint(number, 10)
		if s["labels"], err = json.Marshal(labels); err != nil {
			return nil, fmt.Errorf("encode a service's labels: %w", err)
		}
	}
	if data["services"], err = json.Marshal(services); err != nil {
		return nil, fmt.Errorf("encode the services: %w", err)
	}
	if tagged.Data, err = json.Marshal(data); err != nil {
		return nil, fmt.Errorf("encode the score's data: %w", err)
	}
	return tagged.Canonical()
}
