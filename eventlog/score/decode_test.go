package score_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog/score"
)

func podman(services string) []byte {
	return []byte(`{"type":"PodmanV0","data":{"services":[` + services + `]}}`)
}

func TestDecodeFillsInDefaults(t *testing.T) {
	t.Parallel()
	got, err := score.Decode(podman(`{"name":"web","image":"nginx","ports":["80"],"healthCheck":{"http":{"port":80}},"futureField":1}`))
	if err != nil {
		t.Fatal(err)
	}
	want := score.PodmanV0{Services: []score.Service{{
		Name: "web", Image: "nginx", Network: score.NetworkBridge,
		Ports:         []score.Port{{Container: 80, Protocol: "tcp"}},
		RestartPolicy: score.RestartAlways, PullPolicy: score.PullIfNotPresent,
		HealthCheck: &score.HealthCheck{HTTP: &score.HTTPCheck{Port: 80, Path: "/"}, Interval: 10 * time.Second, Retries: 3},
		Hash:        got.Services[0].Hash, Raw: got.Services[0].Raw,
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("score (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(got.Services[0].Hash, "sha256:") {
		t.Errorf("hash %q has no algorithm", got.Services[0].Hash)
	}
}

func TestDecodeReadsEveryField(t *testing.T) {
	t.Parallel()
	got, err := score.Decode(podman(`{"name":"web","image":"r.example:5000/a/b:1","ports":["127.0.0.1:8080:80","53:53/udp","[::1]:1:2"],
		"command":["/x"],"args":["-v"],"env":{"K":"V"},"volumes":["data:/data:ro","/srv:/srv"],"network":"bridge",
		"restartPolicy":"OnFailure","resources":{"memory":"64Mi","cpus":"0.5","pids":100},
		"healthCheck":{"exec":["true"],"interval":"1s","retries":2,"startPeriod":"5s"},
		"capAdd":["NET_ADMIN"],"capDrop":["ALL"],"readOnly":true,"user":"1000:1000","labels":{"a":"b"},
		"pullPolicy":"Never","configs":{"/etc/x.conf":"text"}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := score.Service{
		Name: "web", Image: "r.example:5000/a/b:1", Command: []string{"/x"}, Args: []string{"-v"},
		Ports: []score.Port{
			{IP: "127.0.0.1", Host: 8080, Container: 80, Protocol: "tcp"},
			{Host: 53, Container: 53, Protocol: "udp"},
			{IP: "::1", Host: 1, Container: 2, Protocol: "tcp"},
		},
		Env:     map[string]string{"K": "V"},
		Volumes: []score.Volume{{Name: "data", Path: "/data", Options: []string{"ro"}}, {Host: "/srv", Path: "/srv"}},
		Network: score.NetworkBridge, RestartPolicy: score.RestartOnFailure,
		Resources:   score.Resources{Memory: 64 << 20, MilliCPU: 500, PIDs: 100},
		HealthCheck: &score.HealthCheck{Exec: []string{"true"}, Interval: time.Second, Retries: 2, StartPeriod: 5 * time.Second},
		CapAdd:      []string{"NET_ADMIN"}, CapDrop: []string{"ALL"}, ReadOnly: true, User: "1000:1000",
		Labels: map[string]string{"a": "b"}, PullPolicy: score.PullNever, Configs: map[string]string{"/etc/x.conf": "text"},
		Hash: got.Services[0].Hash, Raw: got.Services[0].Raw,
	}
	if diff := cmp.Diff(want, got.Services[0]); diff != "" {
		t.Errorf("service (-want +got):\n%s", diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		raw    []byte
		reason string
		says   string
	}{
		"what is not JSON":                  {[]byte(`{`), score.ReasonInvalidScore, "not a score"},
		"a score without a type":            {[]byte(`{"data":{}}`), score.ReasonInvalidScore, `"type" is missing`},
		"a type that it does not know":      {[]byte(`{"type":"WasmV3","data":{}}`), score.ReasonUnsupportedScore, "upgrade the agent"},
		"no data":                           {[]byte(`{"type":"PodmanV0"}`), score.ReasonInvalidScore, "at least one service"},
		"services that are no list":         {[]byte(`{"type":"PodmanV0","data":{"services":3}}`), score.ReasonInvalidScore, `spec.score.data.services in body must be of type array: "integer"`},
		"a service without a name":          {podman(`{"image":"a"}`), score.ReasonInvalidScore, "service (no name): each service needs a name"},
		"a name with a dot":                 {podman(`{"name":"a.b","image":"a"}`), score.ReasonInvalidScore, "label of lower-case"},
		"two services of one name":          {podman(`{"name":"a","image":"a"},{"name":"a","image":"b"}`), score.ReasonInvalidScore, "must be unique"},
		"a service without an image":        {podman(`{"name":"a"}`), score.ReasonInvalidScore, "each service needs an image"},
		"an image with a space":             {podman(`{"name":"a","image":"a b"}`), score.ReasonInvalidScore, "[registry[:port]/]"},
		"a port that is no number":          {podman(`{"name":"a","image":"a","ports":["http"]}`), score.ReasonInvalidScore, `ports "http": a port is`},
		"a port number as JSON":             {podman(`{"name":"a","image":"a","ports":[80]}`), score.ReasonInvalidScore, `spec.score.data.services[0].ports[0] in body must be of type string: "integer"`},
		"one host port for two services":    {podman(`{"name":"a","image":"a","ports":["80:1"]},{"name":"b","image":"a","ports":["127.0.0.1:80:1"]}`), score.ReasonInvalidScore, `service a, port "80:1": the same host port twice`},
		"an unknown network":                {podman(`{"name":"a","image":"a","network":"mesh"}`), score.ReasonInvalidScore, "the networks are bridge"},
		"ports without a network":           {podman(`{"name":"a","image":"a","network":"none","ports":["80"]}`), score.ReasonInvalidScore, "leave ports out"},
		"an unknown restart policy":         {podman(`{"name":"a","image":"a","restartPolicy":"no"}`), score.ReasonInvalidScore, "the restart policies are"},
		"memory that is no quantity":        {podman(`{"name":"a","image":"a","resources":{"memory":"much"}}`), score.ReasonInvalidScore, "resources.memory"},
		"memory beyond 64 bits":             {podman(`{"name":"a","image":"a","resources":{"memory":"9999999999g"}}`), score.ReasonInvalidScore, "resources.memory"},
		"no processor at all":               {podman(`{"name":"a","image":"a","resources":{"cpus":"0"}}`), score.ReasonInvalidScore, "resources.cpus"},
		"no process at all":                 {podman(`{"name":"a","image":"a","resources":{"pids":0}}`), score.ReasonInvalidScore, "resources.pids"},
		"a check by nothing":                {podman(`{"name":"a","image":"a","healthCheck":{}}`), score.ReasonInvalidScore, "exactly one of exec"},
		"a check that never rests":          {podman(`{"name":"a","image":"a","healthCheck":{"exec":["x"],"interval":"1ms"}}`), score.ReasonInvalidScore, "at least 100ms"},
		"a label of the agent's own":        {podman(`{"name":"a","image":"a","labels":{"io.nationtech.fleet.device":"x"}}`), score.ReasonInvalidScore, "the agent's own"},
		"a volume without a path":           {podman(`{"name":"a","image":"a","volumes":["data"]}`), score.ReasonInvalidScore, `volumes "data": a volume is`},
		"a volume over the whole container": {podman(`{"name":"a","image":"a","volumes":["data:/"]}`), score.ReasonInvalidScore, "a volume is"},
		"a volume with an unknown option":   {podman(`{"name":"a","image":"a","volumes":["data:/d:fast"]}`), score.ReasonInvalidScore, `volumes "data:/d:fast": a volume is`},
		"a volume by a relative path":       {podman(`{"name":"a","image":"a","volumes":["../x:/d"]}`), score.ReasonInvalidScore, `volumes "../x:/d": a volume is`},
		"a config by a relative path":       {podman(`{"name":"a","image":"a","configs":{"x":"y"}}`), score.ReasonInvalidScore, "absolute path of a file"},
		"a field in other letters":          {podman(`{"name":"a","Image":"a"}`), score.ReasonInvalidScore, "each service needs an image"},
		"a config over a volume":            {podman(`{"name":"a","image":"a","volumes":["d:/x"],"configs":{"/x":"y"}}`), score.ReasonInvalidScore, "a volume is mounted there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := score.Decode(test.raw)
			var refusal *score.Refusal
			if !errors.As(err, &refusal) {
				t.Fatalf("error %v is no refusal", err)
			}
			if refusal.Reason != test.reason || !strings.Contains(refusal.Message, test.says) {
				t.Errorf("refused with %s: %s\nwant %s and %q", refusal.Reason, refusal.Message, test.reason, test.says)
			}
		})
	}
}

func TestAServicesHashIsOfItsOwnPartAlone(t *testing.T) {
	t.Parallel()
	hash := func(services string) string {
		t.Helper()
		s, err := score.Decode(podman(services))
		if err != nil {
			t.Fatal(err)
		}
		return s.Services[0].Hash
	}
	web := hash(`{"name":"web","image":"a"}`)
	if got := hash(`{"image":"a", "name":"web"},{"name":"db","image":"b"}`); got != web {
		t.Error("the hash depends on the order of keys or on another service")
	}
	if got := hash(`{"name":"web","image":"a","env":{"A":"1"}}`); got == web {
		t.Error("the hash does not depend on the environment")
	}
}

// A port is written as it is read.
func TestPortRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := score.Port{
			Container: rapid.Uint16Min(1).Draw(t, "container"), Host: rapid.Uint16().Draw(t, "host"),
			Protocol: rapid.SampledFrom([]string{"tcp", "udp"}).Draw(t, "protocol"),
		}
		if p.Host != 0 {
			p.IP = rapid.SampledFrom([]string{"", "127.0.0.1", "::1"}).Draw(t, "ip")
		}
		got, err := score.ParsePort(p.String())
		if err != nil || got != p {
			t.Fatalf("%q is read as %+v, %v; want %+v", p.String(), got, err, p)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(podman(`{"name":"web","image":"a:1","ports":["1:2/udp"],"volumes":["d:/x:ro"],"resources":{"memory":"1k","cpus":".5"}}`))
	f.Add([]byte(`{"type":"X"}`))
	f.Add([]byte(`{"type":"PodmanV0","data":{"services":[{"name":"a","image":"b"}],"Services":[]}}`))
	f.Add([]byte(`{"type":"PodmanV0","data":{"services":[null]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := score.Decode(raw)
		if err != nil {
			var refusal *score.Refusal
			if !errors.As(err, &refusal) || refusal.Reason == "" || refusal.Message == "" {
				t.Fatalf("%q: error %#v is no refusal with a reason", raw, err)
			}
			return
		}
		if len(s.Services) == 0 || !json.Valid(raw) {
			t.Fatalf("%q was accepted", raw)
		}
		if again, err := score.Decode(raw); err != nil || !cmp.Equal(s, again) {
			t.Fatalf("%q is read in two ways", raw)
		}
	})
}
