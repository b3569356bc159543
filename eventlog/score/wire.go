package score

import (
	"time"
)

// wire is a service as the score's JSON has it: the fields that this version
// knows, how many items and characters each may have (as in the CRD), and whether
// it was written at all.
type wire struct {
	Name          *string           `json:"name" chars:"63"`
	Image         *string           `json:"image" chars:"1024" text:"places"`
	Ports         []string          `json:"ports" items:"20" chars:"64"`
	Command       []string          `json:"command" items:"64" chars:"4096" text:"places"`
	Args          []string          `json:"args" items:"128" chars:"4096" text:"places"`
	Env           map[string]string `json:"env" items:"256" chars:"32768" text:"plain"`
	Volumes       []string          `json:"volumes" items:"20" chars:"256" text:"places"`
	Network       *string           `json:"network" chars:"63"`
	RestartPolicy *string           `json:"restartPolicy" chars:"63"`
	Resources     *wireResources    `json:"resources"`
	HealthCheck   *wireHealth       `json:"healthCheck"`
	CapAdd        []string          `json:"capAdd" items:"64" chars:"63"`
	CapDrop       []string          `json:"capDrop" items:"64" chars:"63"`
	ReadOnly      bool              `json:"readOnly"`
	User          *string           `json:"user" chars:"128"`
	Labels        map[string]string `json:"labels" items:"64" chars:"4096"`
	PullPolicy    *string           `json:"pullPolicy" chars:"63"`
	Configs       map[string]string `json:"configs" items:"32" chars:"131072" text:"places"`
}

type wireResources struct {
	Memory *string `json:"memory" chars:"32"`
	CPUs   *string `json:"cpus" chars:"32"`
	PIDs   *int64  `json:"pids"`
}

type wireHealth struct {
	Exec        []string  `json:"exec" items:"64" chars:"4096"`
	HTTP        *wireHTTP `json:"http"`
	Interval    *string   `json:"interval" chars:"32"`
	Retries     *int32    `json:"retries"`
	StartPeriod *string   `json:"startPeriod" chars:"32"`
}

type wireHTTP struct {
	Port *int32  `json:"port"`
	Path *string `json:"path" chars:"2048"`
}

// wireData is a PodmanV0 score's data.
type wireData struct {
	Services []wire `json:"services" items:"20"`
}

// or is what was written, or the default.
func or[T ~string](written *string, otherwise T) T {
	if written == nil {
		return otherwise
	}
	return T(*written)
}

// service makes values of what passed the rules, and fills in the defaults. Its
// errors are faults of the rules.
func (w wire) service() (Service, error) {
	s := Service{
		Name: or(w.Name, ""), Image: or(w.Image, ""), Command: w.Command, Args: w.Args, Env: w.Env,
		CapAdd: w.CapAdd, CapDrop: w.CapDrop, ReadOnly: w.ReadOnly, User: or(w.User, ""),
		Labels: w.Labels, Configs: w.Configs,
		Network: or(w.Network, NetworkBridge), RestartPolicy: or(w.RestartPolicy, RestartAlways),
		PullPolicy: or(w.PullPolicy, PullIfNotPresent),
	}
	for _, text := range w.Ports {
		p, err := ParsePort(text)
		if err != nil {
			return Service{}, err
		}
		s.Ports = append(s.Ports, p)
	}
	for _, text := range w.Volumes {
		v, err := ParseVolume(text)
		if err != nil {
			return Service{}, err
		}
		s.Volumes = append(s.Volumes, v)
	}
	var err error
	if s.Resources, err = w.Resources.resources(); err != nil {
		return Service{}, err
	}
	if s.HealthCheck, err = w.HealthCheck.check(); err != nil {
		return Service{}, err
	}
	return s, nil
}

func (w *wireResources) resources() (Resources, error) {
	var r Resources
	if w == nil {
		return r, nil
	}
	var err error
	if w.Memory != nil {
		if r.Memory, err = ParseMemory(*w.Memory); err != nil {
			return r, err
		}
	}
	if w.CPUs != nil {
		if r.MilliCPU, err = ParseCPUs(*w.CPUs); err != nil {
			return r, err
		}
	}
	if w.PIDs != nil {
		r.PIDs = *w.PIDs
	}
	return r, nil
}

func (w *wireHealth) check() (*HealthCheck, error) {
	if w == nil {
		return nil, nil
	}
	h := &HealthCheck{Exec: w.Exec, Interval: DefaultInterval, Retries: DefaultRetries}
	if w.HTTP != nil {
		h.HTTP = &HTTPCheck{Path: or(w.HTTP.Path, "/")}
		if w.HTTP.Port != nil {
			h.HTTP.Port = uint16(*w.HTTP.Port)
		}
	}
	if w.Retries != nil {
		h.Retries = int(*w.Retries)
	}
	var err error
	if w.Interval != nil {
		if h.Interval, err = time.ParseDuration(*w.Interval); err != nil {
			return nil, err
		}
	}
	if w.StartPeriod != nil {
		if h.StartPeriod, err = time.ParseDuration(*w.StartPeriod); err != nil {
			return nil, err
		}
	}
	return h, nil
}
