package dev

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/grafana"
	"fleet.nationtech.io/eventlog/pause"
)

// eventURLs gives what the Infinity queries of a dashboard ask for.
func eventURLs(d grafana.Dashboard) (all []string, err error) {
	text, err := d.JSON()
	if err != nil {
		return nil, err
	}
	var whole any
	if err := json.Unmarshal(text, &whole); err != nil {
		return nil, err
	}
	var look func(v any)
	look = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				look(e)
			}
		case map[string]any:
			if u, is := v["url"].(string); is && strings.HasPrefix(u, "/api/v1/events") {
				all = append(all, u)
			}
			for _, e := range v {
				look(e)
			}
		}
	}
	look(whole)
	return all, nil
}

func TestTheOperatorAnswersWhatTheTablesOfEventsAsk(t *testing.T) {
	t.Parallel()
	o := Options{DataDir: t.TempDir(), Devices: 2, Engine: EngineMemory}
	err := Run(t.Context(), o, func(ctx context.Context, f *Fleet) error {
		c, err := newCrowd(t, f)
		if err != nil {
			return err
		}
		if err := c.apply(ctx, "web", map[string]string{"site": "lab"}, 0); err != nil {
			return err
		}
		if err := c.succeeded(ctx, "web", 2); err != nil {
			return err
		}
		dashboards, err := grafana.Dashboards()
		if err != nil {
			return err
		}
		now := time.Now()
		variables := strings.NewReplacer("${namespace}", namespace, "${deployment}", "web", "${device}", f.Devices[0].ID,
			"${__from}", fmt.Sprint(now.Add(-time.Hour).UnixMilli()), "${__to}", fmt.Sprint(now.Add(time.Hour).UnixMilli()))
		tables := 0
		for _, d := range dashboards {
			urls, err := eventURLs(d)
			if err != nil {
				return err
			}
			for _, u := range urls {
				tables++
				events, err := eventsOf(ctx, f.Env.OperatorURL+variables.Replace(u))
				if err != nil {
					t.Errorf("%s: %s: %v", d.Name, u, err)
					continue
				}
				// Nobody logs in by a token in this fleet, and nobody's access is revoked.
				if len(events) == 0 && !strings.Contains(u, "access") {
					t.Errorf("%s: %s gives no event", d.Name, u)
				}
				for _, e := range events {
					if e["time"] == nil || e["type"] == nil || e["sequence"] == nil {
						t.Errorf("%s: an event is %v", d.Name, e)
					}
				}
			}
		}
		if tables != 5 {
			t.Errorf("%d queries of events, want 5", tables)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// eventsOf gives the rows of an answer of the operator. Where the log could not be read in time, it asks
// again.
func eventsOf(ctx context.Context, address string) (events []map[string]any, err error) {
	for range 10 {
		var unread bool
		if events, unread, err = askEvents(ctx, address); !unread {
			break
		}
		pause.For(ctx, time.Second)
	}
	return events, err
}

// askEvents asks once. unread says that another time there may be an answer.
func askEvents(ctx context.Context, address string) (events []map[string]any, unread bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, false, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, false, err
	}
	defer res.Body.Close()
	var answer struct {
		Events []map[string]any `json:"events"`
		Error  string           `json:"error"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return nil, false, err
	}
	if res.StatusCode != http.StatusOK {
		unread = res.StatusCode == http.StatusServiceUnavailable || res.StatusCode == http.StatusGatewayTimeout
		return nil, unread, fmt.Errorf("%s: %s", res.Status, answer.Error)
	}
	return answer.Events, false, nil
}
