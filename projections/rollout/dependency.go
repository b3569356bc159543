package rollout

import (
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// GoesBack says whether a Deployment's run replaces what a device has by what it had. That
// waits for no other Deployment: what it replaces may be what broke that.
func GoesBack(run *fleet.Run, has bool) bool { return has && run.Kind == eventlog.RunRollback }

// Dependency says whether the Deployments that one depends on let it go to a device:
// missing names one that is not there at all, blocked one that is not healthy there on
// its own target. dev is nil where the log never heard of the device.
func (s *Settings) Dependency(v *fleet.View, namespace string, dev *fleet.Device) (missing, blocked string) {
	for _, name := range s.DependsOn {
		other := v.Deployments[fleet.Key{Namespace: namespace, Name: name}]
		var p *fleet.Assignment
		if dev != nil {
			p = dev.Pair(name)
		}
		switch {
		case other == nil || p == nil || p.Deployment != other:
			return name, ""
		case blocked == "" && (!p.Succeeded() || !p.Has(&other.Run.Target)):
			blocked = name
		}
	}
	return "", blocked
}

// Cyclic says whether a Deployment depends on itself by way of others. What was deleted
// depends on nothing any more.
func Cyclic(v *fleet.View, key fleet.Key) bool {
	seen := map[fleet.Key]bool{}
	var reaches func(k fleet.Key) bool
	reaches = func(k fleet.Key) bool {
		d := v.Deployments[k]
		if d == nil || d.Lifecycle == fleet.Deleted || seen[k] {
			return false
		}
		seen[k] = true
		for _, name := range d.Settings.DependsOn {
			next := fleet.Key{Namespace: k.Namespace, Name: name}
			if next == key || reaches(next) {
				return true
			}
		}
		return false
	}
	return reaches(key)
}
