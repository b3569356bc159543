package score

import (
	"fmt"
	"slices"
	"time"
)

// wire is a service as the score's JSON has it.
type wire struct {
	Name          string            `json:"name"`
	Image         string            `json:"image"`
	Ports         []string          `json:"ports"`
	Command       []string          `json:"command"`
	Args          []string          `json:"args"`
	Env           map[string]string `json:"env"`
	Volumes       []string          `json:"volumes"`
	Network       Network           `json:"network"`
	RestartPolicy RestartPolicy     `json:"restartPolicy"`
	Resources     *wireResources    `json:"resources"`
	HealthCheck   *wireHealth       `json:"healthCheck"`
	CapAdd        []string          `json:"capAdd"`
	CapDrop       []string          `json:"capDrop"`
	ReadOnly      bool              `json:"readOnly"`
	User          string            `json:"user"`
	Labels        map[string]string `json:"labels"`
	PullPolicy    PullPolicy        `json:"pullPolicy"`
	Configs       map[string]string `json:"configs"`
}

type wireResources struct {
	Memory string `json:"memory"`
	CPUs   string `json:"cpus"`
	PIDs   *int64 `json:"pids"`
}

type wireHealth struct {
	Exec        []string  `json:"exec"`
	HTTP        *wireHTTP `json:"http"`
	Interval    string    `json:"interval"`
	Retries     *int      `json:"retries"`
	StartPeriod string    `json:"startPeriod"`
}

type wireHTTP struct {
	Port int    `json:"port"`
	Path string `json:"path"`
}

func (w wire) title(i int) string {
	if w.Name == "" {
		return fmt.Sprintf("services[%d]", i)
	}
	return fmt.Sprintf("service %q", w.Name)
}

// service parses what is written as text and fills in the defaults.
func (w wire) service() (Service, error) {
	s := Service{
		Name: w.Name, Image: w.Image, Command: w.Command, Args: w.Args, Env: w.Env,
		CapAdd: w.CapAdd, CapDrop: w.CapDrop, ReadOnly: w.ReadOnly, User: w.User,
		Labels: w.Labels, Configs: w.Configs,
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
	if s.Network, err = oneOf("network", w.Network, NetworkBridge, NetworkHost, NetworkNone); err != nil {
		return Service{}, err
	}
	if s.RestartPolicy, err = oneOf("restartPolicy", w.RestartPolicy, RestartAlways, RestartOnFailure, RestartNever); err != nil {
		return Service{}, err
	}
	if s.PullPolicy, err = oneOf("pullPolicy", w.PullPolicy, PullIfNotPresent, PullAlways, PullNever); err != nil {
		return Service{}, err
	}
	if s.Resources, err = w.Resources.resources(); err != nil {
		return Service{}, err
	}
	if s.HealthCheck, err = w.HealthCheck.check(); err != nil {
		return Service{}, err
	}
	return s, nil
}

// oneOf gives the first of allowed for an empty value.
func oneOf[T ~string](field string, v T, allowed ...T) (T, error) {
	if v == "" {
		return allowed[0], nil
	}
	if !slices.Contains(allowed, v) {
		return "", fmt.Errorf("%s %q: it is one of %v", field, v, allowed)
	}
	return v, nil
}

func (w *wireResources) resources() (Resources, error) {
	var r Resources
	if w == nil {
		return r, nil
	}
	var err error
	if w.Memory != "" {
		if r.Memory, err = ParseMemory(w.Memory); err != nil {
			return r, err
		}
	}
	if w.CPUs != "" {
		if r.MilliCPU, err = ParseCPUs(w.CPUs); err != nil {
			return r, err
		}
	}
	if w.PIDs != nil {
		if *w.PIDs < 1 {
			return r, fmt.Errorf("resources.pids %d: it is 1 or more", *w.PIDs)
		}
		r.PIDs = *w.PIDs
	}
	return r, nil
}

func (w *wireHealth) check() (*HealthCheck, error) {
	if w == nil {
		return nil, nil
	}
	if (len(w.Exec) == 0) == (w.HTTP == nil) {
		return nil, fmt.Errorf("healthCheck has exactly one of exec and http")
	}
	h := &HealthCheck{Exec: w.Exec, Interval: DefaultInterval, Retries: DefaultRetries}
	if w.HTTP != nil {
		if w.HTTP.Port < 1 || w.HTTP.Port > 65535 {
			return nil, fmt.Errorf("healthCheck.http.port %d: it is a port of the container, 1 to 65535", w.HTTP.Port)
		}
		h.HTTP = &HTTPCheck{Port: uint16(w.HTTP.Port), Path: w.HTTP.Path}
		if h.HTTP.Path == "" {
			h.HTTP.Path = "/"
		}
		if h.HTTP.Path[0] != '/' {
			return nil, fmt.Errorf("healthCheck.http.path %q: it begins with /", w.HTTP.Path)
		}
	}
	if w.Retries != nil {
		if *w.Retries < 1 {
			return nil, fmt.Errorf("healthCheck.retries %d: it is 1 or more", *w.Retries)
		}
		h.Retries = *w.Retries
	}
	if w.Interval != "" {
		d, err := time.ParseDuration(w.Interval)
		if err != nil || d < MinInterval {
			return nil, fmt.Errorf("healthCheck.interval %q: it is a duration such as \"10s\", at least %s", w.Interval, MinInterval)
		}
		h.Interval = d
	}
	if w.StartPeriod != "" {
		d, err := time.ParseDuration(w.StartPeriod)
		if err != nil || d < 0 {
			return nil, fmt.Errorf("healthCheck.startPeriod %q: it is a duration such as \"5s\"", w.StartPeriod)
		}
		h.StartPeriod = d
	}
	return h, nil
}
