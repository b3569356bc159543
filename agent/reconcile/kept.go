package reconcile

import "fleet.nationtech.io/agent/plan"

// Keeps remembers, over restarts of the agent and of the device, in which revision
// each service is on the device.
type Keeps interface {
	Load() (plan.Keeps, error)
	// Save remembers one service; nil forgets it.
	Save(key plan.Key, kept *plan.Kept) error
}

// load reads what an earlier run of the agent remembered.
func (k *Reconciler) load() {
	kept, err := k.o.Keeps.Load()
	if err != nil {
		k.o.Log.Error("cannot read in which revisions the services are kept; containers whose update waits are kept by the update's restart policy",
			"error", err)
	}
	k.kept, k.saved = kept, kept
}

// save writes down what changed. What can't be written is tried again each turn
// that changes something, and is told once.
func (k *Reconciler) save(now plan.Keeps) {
	saved := plan.Keeps{}
	var failed error
	for key, kept := range now {
		before, known := k.saved[key]
		if known && before.Same(kept) {
			saved[key] = kept
			continue
		}
		if err := k.o.Keeps.Save(key, &kept); err != nil {
			failed = err
			continue
		}
		saved[key] = kept
	}
	for key, before := range k.saved {
		if _, known := now[key]; known {
			continue
		}
		if err := k.o.Keeps.Save(key, nil); err != nil {
			failed = err
			saved[key] = before
		}
	}
	if failed != nil && !k.unsaved {
		k.o.Log.Error("cannot write down in which revisions the services are kept; a reboot would not know the newest", "error", failed)
	}
	k.kept, k.saved, k.unsaved = now, saved, failed != nil
}
