package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"fleet.nationtech.io/agent/plan"
	"fleet.nationtech.io/agent/store"
)

// keptPrefix is before the key of each service in the store's memos.
const keptPrefix = "kept/"

// keeps is what the reconciler remembers over restarts, in the store.
type keeps struct {
	store *store.Store
}

// Load implements reconcile.Keeps. One entry that can't be read takes none of the
// others along.
func (k keeps) Load() (plan.Keeps, error) {
	all, err := k.store.RecallAll(keptPrefix)
	if err != nil {
		return nil, err
	}
	kept := plan.Keeps{}
	var failed error
	for name, value := range all {
		var key plan.Key
		var one plan.Kept
		err := errors.Join(key.UnmarshalText([]byte(strings.TrimPrefix(name, keptPrefix))), json.Unmarshal(value, &one))
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", name, err))
			continue
		}
		kept[key] = one
	}
	return kept, failed
}

// Save implements reconcile.Keeps.
func (k keeps) Save(key plan.Key, kept *plan.Kept) error {
	name, err := key.MarshalText()
	if err != nil {
		return err
	}
	if kept == nil {
		return k.store.Remember(keptPrefix+string(name), nil)
	}
	value, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("encode what service %s is kept as: %w", name, err)
	}
	return k.store.Remember(keptPrefix+string(name), value)
}
