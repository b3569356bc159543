package eventlog

import (
	"encoding/json"
	"fmt"
)

// State decodes a state.reported. It fails with ErrForeign when the payload is
// not a DeploymentState or speaks of another device or Deployment than the
// subject: a device must not be able to say anything of another.
func (e Event) State() (DeploymentState, error) {
	s, err := Payload[DeploymentState](e)
	if err != nil {
		return s, err
	}
	return s, s.check(&e.Address)
}

// Info decodes an info.reported. It fails with ErrForeign as State does.
func (e Event) Info() (DeviceInfo, error) {
	i, err := Payload[DeviceInfo](e)
	if err != nil {
		return i, err
	}
	return i, i.check(&e.Address)
}

func (s *DeploymentState) check(a *Address) error {
	switch {
	case s.DeviceID == "":
		return fmt.Errorf("%w: payload has no device_id", ErrForeign)
	case s.Deployment == "":
		return fmt.Errorf("%w: payload has no deployment", ErrForeign)
	case s.DeviceID != a.Device || s.Deployment != a.Deployment:
		return fmt.Errorf("%w: payload speaks of deployment %q on device %q", ErrForeign, s.Deployment, s.DeviceID)
	}
	if !s.Phase.Valid() {
		return fmt.Errorf("%w: phase %q is none of Pending, Running, Failed", ErrForeign, s.Phase)
	}
	return nil
}

func (i *DeviceInfo) check(a *Address) error {
	if i.DeviceID == "" {
		return fmt.Errorf("%w: payload has no device_id", ErrForeign)
	}
	if i.DeviceID != a.Device {
		return fmt.Errorf("%w: payload speaks of device %q", ErrForeign, i.DeviceID)
	}
	return nil
}

func decodeInto(e Event, p any) error {
	if err := json.Unmarshal(e.Data, p); err != nil {
		return undecodable(e, err)
	}
	upcast(e, p)
	return nil
}
