package v1alpha1

import "encoding/json"

// ScoreType names the kind of a score, and thereby what its data holds.
type ScoreType string

// ScorePodmanV0 is the type of a score whose data is a PodmanV0: services that
// run as containers on Podman.
const ScorePodmanV0 ScoreType = "PodmanV0"

// ReconcileScore says what runs on a device. It is tagged with its type, so
// that other kinds can join: a type that the operator doesn't know is kept as
// it is, and the Deployment says UnsupportedScore. The whole score must stay
// under 200 KiB. No secrets belong here: the event log keeps every score for
// ever.
type ReconcileScore struct {
	// The kind of this score. PodmanV0 is the one that devices know today.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Type ScoreType `json:"type"`

	// What the score holds; the fields listed here are those of type PodmanV0.
	// Unknown fields are kept and sent to the devices, which ignore those that
	// they don't know.
	// +optional
	Data ScoreData `json:"data,omitzero"`
}

// ScoreData is a score's content: the raw JSON as it was written, and beside
// it the view that PodmanV0 gives of it.
//
// Raw is the truth where it is set: it is what MarshalJSON writes, so nothing
// that a person wrote is lost because this code doesn't know it. Content made
// in Go sets Services and leaves Raw empty.
//
// +kubebuilder:validation:Type=object
// +kubebuilder:pruning:PreserveUnknownFields
type ScoreData struct {
	// What runs, each as one container. At least one; names are unique.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Services []Service `json:"services,omitempty"`

	// Raw is the JSON that Services was decoded from.
	Raw json.RawMessage `json:"-"`
}

// Service is one container that a device keeps as its restartPolicy wants it.
// A container is replaced when its own service's part of the score changes.
//
// +kubebuilder:pruning:PreserveUnknownFields
type Service struct {
	// The service's name, unique in the score: lower-case letters, digits and
	// '-'. Required.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`

	// The image to run, such as docker.io/library/nginx:1.27 or one with a
	// digest. Required.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Image string `json:"image,omitempty"`

	// Ports to publish, each "CONTAINER" (a free host port is taken and reported
	// in the device's state), "HOST:CONTAINER" or "IP:HOST:CONTAINER", and
	// optionally "/tcp" (the default) or "/udp" after it.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MaxLength=64
	Ports []string `json:"ports,omitempty"`

	// What runs in place of the image's entrypoint.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=4096
	Command []string `json:"command,omitempty"`

	// Arguments, in place of the image's own.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=4096
	Args []string `json:"args,omitempty"`

	// Environment variables, name to value. Values are strings: quote numbers and
	// true or false. In them, as in image, command, args, volumes and the values of
	// configs, $(device.id) and $(device.labels.KEY) are filled in for each device;
	// $$(device. means $(device. itself.
	// +optional
	// +kubebuilder:validation:MaxProperties=256
	Env map[string]EnvValue `json:"env,omitempty"`

	// What is mounted, each "NAME:/path" (a volume that Podman keeps on the
	// device) or "/host/path:/path", and optionally options after it, as in
	// "data:/data:ro" or "/srv:/srv:rw,z".
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MaxLength=256
	Volumes []string `json:"volumes,omitempty"`

	// The network: bridge (the default), host (the device's own, where ports need
	// no publishing) or none.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Network string `json:"network,omitempty"`

	// When a container that ended is started again: Always (the default),
	// OnFailure (unless it ended with 0) or Never. The agent does it, with
	// back-off.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	RestartPolicy string `json:"restartPolicy,omitempty"`

	// The most that the container may use.
	// +optional
	Resources *ResourceLimits `json:"resources,omitempty"`

	// How the agent finds out whether the service is well. Without it a container
	// that runs counts as well.
	// +optional
	HealthCheck *HealthCheck `json:"healthCheck,omitempty"`

	// Linux capabilities to add, such as NET_ADMIN.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	CapAdd []string `json:"capAdd,omitempty"`

	// Linux capabilities to take away, such as NET_RAW, or ALL.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	CapDrop []string `json:"capDrop,omitempty"`

	// Whether the container's own file system can't be written to.
	// +optional
	ReadOnly bool `json:"readOnly,omitempty"`

	// Who runs the process in the container: a name or number, and optionally
	// ":group", as in "1000:1000".
	// +optional
	// +kubebuilder:validation:MaxLength=128
	User string `json:"user,omitempty"`

	// Labels on the container. Keys that begin with fleet.nationtech.io/ or
	// io.nationtech.fleet. are the agent's own.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// When the image is pulled: IfNotPresent (the default), Always (each time the
	// container is created) or Never.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	PullPolicy string `json:"pullPolicy,omitempty"`

	// Files that are put into the container, absolute path to content. They are
	// part of the score: a change replaces the container. Not for secrets.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Configs map[string]ConfigContent `json:"configs,omitempty"`
}

// EnvValue is the value of an environment variable. No process can be given a NUL
// character.
// +kubebuilder:validation:MaxLength=32768
type EnvValue string

// LabelValue is the value of a container's label.
// +kubebuilder:validation:MaxLength=4096
type LabelValue string

// ConfigContent is the text of a file.
// +kubebuilder:validation:MaxLength=131072
type ConfigContent string

// ResourceLimits is the most that a container may use.
//
// +kubebuilder:pruning:PreserveUnknownFields
type ResourceLimits struct {
	// Memory: a whole number, alone in bytes, or with Ki, Mi, Gi, or k, m, g in
	// either case, which count in 1024s too, as with Podman: "64Mi", "64m", "1g".
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Memory string `json:"memory,omitempty"`

	// Processors: "0.5" is half of one.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	CPUs string `json:"cpus,omitempty"`

	// How many processes and threads there may be at once.
	// +optional
	PIDs *int64 `json:"pids,omitempty"`
}

// HealthCheck says how the agent finds out whether a service is well: by
// exactly one of exec and http.
//
// +kubebuilder:pruning:PreserveUnknownFields
type HealthCheck struct {
	// A command that is run in the container: well when it exits 0.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=4096
	Exec []string `json:"exec,omitempty"`

	// A request to a port of the container: well when the answer is 200 to 399.
	// +optional
	HTTP *HTTPCheck `json:"http,omitempty"`

	// Time between two checks, such as "10s" (the default), at least "100ms".
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Interval string `json:"interval,omitempty"`

	// How many checks in a row must fail until the service counts as unhealthy; 3
	// by default.
	// +optional
	Retries *int32 `json:"retries,omitempty"`

	// Time after the start in which failed checks don't count, such as "5s"; none
	// by default.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	StartPeriod string `json:"startPeriod,omitempty"`
}

// HTTPCheck is a request to a port of the container.
//
// +kubebuilder:pruning:PreserveUnknownFields
type HTTPCheck struct {
	// The container's port.
	// +optional
	Port int32 `json:"port,omitempty"`

	// The path to get; "/" by default.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Path string `json:"path,omitempty"`
}
