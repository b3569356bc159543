package eventlog_test

import (
	"reflect"
	"testing"

	"fleet.nationtech.io/eventlog"
)

// A count that is added to the pulse needs a trouble, so that people and Prometheus see it.
func TestEachCountOfAPulseIsOneTrouble(t *testing.T) {
	t.Parallel()
	figures := reflect.TypeFor[eventlog.AgentFigures]()
	for i := range figures.NumField() {
		f := figures.Field(i)
		if f.Type.Kind() != reflect.Uint64 || f.Name == "Run" || f.Name == "Observe" || f.Name == "Waiting" {
			continue
		}
		one := eventlog.AgentFigures{}
		reflect.ValueOf(&one).Elem().Field(i).SetUint(7)
		var counted []eventlog.Trouble
		for _, trouble := range eventlog.Troubles() {
			if trouble.Of(&one) == 7 {
				counted = append(counted, trouble)
			}
			if trouble.Means() == "" {
				t.Errorf("nothing says what %s means", trouble)
			}
		}
		if len(counted) != 1 {
			t.Errorf("the count %s is that of the troubles %v, want one", f.Name, counted)
		}
	}
}
