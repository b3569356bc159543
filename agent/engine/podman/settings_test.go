package podman_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/engine/podmantest"
	"fleet.nationtech.io/eventlog/score"
)

// web gives the spec of a service of the fixture, with a score's fields.
func web(t *testing.T, device, fields string) engine.Spec {
	t.Helper()
	if !strings.Contains(fields, `"image"`) {
		fields += fmt.Sprintf(`,"image":%q`, image)
	}
	decoded, err := score.Decode([]byte(`{"type":"PodmanV0","data":{"services":[{"name":"web",` + strings.TrimPrefix(fields, ",") + `}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	return engine.Spec{Identity: engine.Identity{Device: device, Deployment: "hello", Service: "web"}, Revision: 1, Service: decoded.Services[0]}
}

func run(t *testing.T, e engine.Engine, s engine.Spec) engine.Container {
	t.Helper()
	id, err := e.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return observed(t, e, id)
}

func observed(t *testing.T, e engine.Engine, id string) engine.Container {
	t.Helper()
	cs, err := e.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(cs, func(c engine.Container) bool { return c.ID == id })
	if i < 0 {
		t.Fatalf("container %.12s is not there", id)
	}
	return cs[i]
}

// quick gives up soon, to be asked again: a connection that was begun while a
// container was coming or going may stay with an address that nobody has.
var quick = http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// ask gets a path of a container through its published port.
func ask(t *testing.T, c engine.Container, path string) (int, string) {
	t.Helper()
	host, _, _ := strings.Cut(c.Ports[0], ":")
	var err error
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		var answer *http.Response
		if answer, err = quick.Get("http://127.0.0.1:" + host + path); err != nil {
			continue
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	t.Fatal(err)
	return 0, ""
}

func TestAContainerIsMadeAsItsServiceSays(t *testing.T) {
	t.Parallel()
	s := start(t, podmantest.Options{})
	e := s.engine(t, "pi-01")
	c := run(t, e, web(t, "pi-01", `"ports":["8080"],"args":["a","b"],"env":{"K":"V"},"user":"1000:1001","readOnly":true,
		"capAdd":["NET_ADMIN"],"capDrop":["CHOWN"],"volumes":["data:/data"],"configs":{"/etc/x.conf":"text of x"},
		"resources":{"memory":"64Mi","cpus":"0.5","pids":50}`))
	_, body := ask(t, c, "/facts")
	var facts struct {
		Args, Env []string
		UID, GID  int
		Caps      string
	}
	if err := json.Unmarshal([]byte(body), &facts); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(facts.Args, []string{"a", "b"}) || facts.UID != 1000 || facts.GID != 1001 {
		t.Errorf("args %q, user %d:%d", facts.Args, facts.UID, facts.GID)
	}
	for _, want := range []string{"K=V", "FLEET_DEVICE=pi-01", "FLEET_DEPLOYMENT=hello", "FLEET_SERVICE=web"} {
		if !slices.Contains(facts.Env, want) {
			t.Errorf("environment %q lacks %s", facts.Env, want)
		}
	}
	if status, text := ask(t, c, "/read?path=/etc/x.conf"); status != 200 || text != "text of x" {
		t.Errorf("config: %d %q", status, text)
	}
	for _, path := range []string{"/etc/x.conf", "/new"} {
		if status, _ := ask(t, c, "/write?text=y&path="+path); status != 403 {
			t.Errorf("may write %s: %d", path, status)
		}
	}
	limits := s.CLI("inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.CpuQuota}} {{.HostConfig.CpuPeriod}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}} {{.Config.StopTimeout}} {{.HostConfig.CapAdd}} {{.HostConfig.CapDrop}}", c.ID)
	if want := "67108864 50000 100000 50 no 10 [CAP_NET_ADMIN] [CAP_CHOWN]"; limits != want {
		t.Errorf("limits %q, want %q", limits, want)
	}
}

// A container port that is published twice answers at both of its host ports.
func TestAPortThatIsThereTwiceAnswersTwice(t *testing.T) {
	t.Parallel()
	s := start(t, podmantest.Options{})
	c := run(t, s.engine(t, "pi-01"), web(t, "pi-01", `"ports":["8080","8080/tcp"]`))
	if len(c.Ports) != 2 || c.Ports[0] == c.Ports[1] {
		t.Fatalf("ports %q, want two", c.Ports)
	}
	for _, port := range c.Ports {
		if status, _ := ask(t, engine.Container{Ports: []string{port}}, "/healthz"); status != 200 {
			t.Errorf("port %s answers %d", port, status)
		}
	}
}

// A volume belongs to its device and Deployment, and outlives containers; a
// config goes with its container.
func TestVolumesStayAndConfigsGo(t *testing.T) {
	t.Parallel()
	s := start(t, podmantest.Options{})
	e := s.engine(t, "pi-01")
	fields := `"ports":["8080"],"volumes":["data:/data"],"configs":{"/etc/x.conf":"%s"}`
	first := run(t, e, web(t, "pi-01", fmt.Sprintf(fields, "one")))
	if status, _ := ask(t, first, "/write?path=/data/f&text=kept"); status != 200 {
		t.Fatalf("write: %d", status)
	}
	if err := e.Remove(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	second := run(t, e, web(t, "pi-01", fmt.Sprintf(fields, "two")))
	if _, text := ask(t, second, "/read?path=/data/f"); text != "kept" {
		t.Errorf("the volume holds %q", text)
	}
	if _, text := ask(t, second, "/read?path=/etc/x.conf"); text != "two" {
		t.Errorf("the config is %q", text)
	}
	other := run(t, s.engine(t, "pi-02"), web(t, "pi-02", fmt.Sprintf(fields, "one")))
	if status, _ := ask(t, other, "/read?path=/data/f"); status != 404 {
		t.Errorf("another device reads the volume: %d", status)
	}
	if err := e.Remove(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(s.data("pi-01"), "configs"))
	if err != nil || len(left) > 0 {
		t.Errorf("configs left: %v, %v", left, err)
	}
}

func TestErrorsHaveTheirClass(t *testing.T) {
	t.Parallel()
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := func(status int, code string) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, strings.ToLower(strings.ReplaceAll(code, "_", " ")))
		}
		switch {
		case r.URL.Path == "/v2/":
			w.WriteHeader(http.StatusOK)
		case strings.Contains(r.URL.Path, "secret"):
			answer(http.StatusUnauthorized, "UNAUTHORIZED")
		case strings.Contains(r.URL.Path, "broken"):
			w.WriteHeader(http.StatusInternalServerError)
		default:
			answer(http.StatusNotFound, "MANIFEST_UNKNOWN")
		}
	}))
	t.Cleanup(registry.Close)
	host := strings.TrimPrefix(registry.URL, "http://")
	s := start(t, podmantest.Options{Insecure: host})
	e := s.engine(t, "pi-01")
	for name, test := range map[string]struct {
		image  string
		policy score.PullPolicy
		class  engine.Class
		reason string
	}{
		"no such tag":           {host + "/a:nope", score.PullIfNotPresent, engine.ClassRetrySlowly, engine.ReasonImageNotFound},
		"no access":             {host + "/secret:1", score.PullIfNotPresent, engine.ClassRetrySlowly, engine.ReasonImageAccessDenied},
		"a registry in trouble": {host + "/broken:1", score.PullIfNotPresent, engine.ClassRetry, engine.ReasonImagePullFailed},
		"no such host":          {"registry.invalid/a:1", score.PullIfNotPresent, engine.ClassRetry, engine.ReasonImagePullFailed},
		"nobody listens":        {"127.0.0.1:1/a:1", score.PullIfNotPresent, engine.ClassRetry, engine.ReasonImagePullFailed},
		"upper case":            {host + "/A:1", score.PullIfNotPresent, engine.ClassChange, engine.ReasonInvalidImage},
		"nobody listens, and the image is called access-denied": {"127.0.0.1:1/team/access-denied:1", score.PullIfNotPresent, engine.ClassRetry, engine.ReasonImagePullFailed},
		"nobody listens, and the image is called short-name":    {"127.0.0.1:1/team/short-name:1", score.PullIfNotPresent, engine.ClassRetry, engine.ReasonImagePullFailed},
		"no such tag as toomanyrequests":                        {host + "/team/unauthorized:toomanyrequests", score.PullIfNotPresent, engine.ClassRetrySlowly, engine.ReasonImageNotFound},
		"a short name":                                          {"nginx-that-nobody-has", score.PullIfNotPresent, engine.ClassRetrySlowly, engine.ReasonInvalidImage},
		"Never, and not there":                                  {host + "/a:1", score.PullNever, engine.ClassRetrySlowly, engine.ReasonImageNotPresent},
		"pulled though it is there":                             {image, score.PullAlways, engine.ClassRetry, engine.ReasonImagePullFailed},
	} {
		t.Run("pull: "+name, func(t *testing.T) {
			t.Parallel()
			mustBe(t, e.Pull(t.Context(), test.image, test.policy, nil), test.class, test.reason)
		})
	}
	for name, test := range map[string]struct {
		fields string
		class  engine.Class
		reason string
	}{
		"an image that is not there":            {`"image":"localhost/nope:1"`, engine.ClassRetry, engine.ReasonImageNotPresent},
		"a path that is not there":              {`"volumes":["/no/such/path:/x"]`, engine.ClassRetrySlowly, engine.ReasonInvalidContainer},
		"a command that is not there":           {`"command":["/no/such"]`, engine.ClassRetrySlowly, engine.ReasonInvalidContainer},
		"a path that reads as another error":    {`"volumes":["/srv/image not known, address already in use:/x"]`, engine.ClassRetrySlowly, engine.ReasonInvalidContainer},
		"a command that reads as another error": {`"command":["/no such container: address already in use"]`, engine.ClassRetrySlowly, engine.ReasonInvalidContainer},
		"a user that reads as another error":    {`"user":"unauthorized"`, engine.ClassRetrySlowly, engine.ReasonInvalidContainer},
		"a user that is not there":              {`"user":"nobody-here"`, engine.ClassRetrySlowly, engine.ReasonInvalidContainer},
	} {
		t.Run("run: "+name, func(t *testing.T) {
			t.Parallel()
			spec := web(t, "pi-01", test.fields)
			spec.Deployment = fmt.Sprintf("d%d-%d", len(name), len(test.fields))
			id, err := e.Create(t.Context(), spec)
			if err == nil {
				err = e.Start(t.Context(), id)
			}
			mustBe(t, err, test.class, test.reason)
		})
	}
	t.Run("a name that somebody else's container has", func(t *testing.T) {
		t.Parallel()
		spec := web(t, "pi-01", "")
		spec.Deployment = "taken"
		s.CLI("create", "--name", spec.Name(), image)
		_, err := e.Create(t.Context(), spec)
		mustBe(t, err, engine.ClassRetrySlowly, engine.ReasonNameTaken)
	})
}

func mustBe(t *testing.T, err error, class engine.Class, reason string) {
	t.Helper()
	var e *engine.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no *engine.Error", err)
	}
	if e.Class != class || e.Reason != reason {
		t.Errorf("%q is of class %d, reason %s, want %d, %s", e, e.Class, e.Reason, class, reason)
	}
}

func TestTheServiceMayGoAndComeBack(t *testing.T) {
	t.Parallel()
	s := start(t, podmantest.Options{})
	e := s.engine(t, "pi-01")
	before := run(t, e, web(t, "pi-01", ""))
	ended := make(chan error, 1)
	go func() { ended <- e.Events(t.Context(), func(engine.Event) {}) }()
	time.Sleep(200 * time.Millisecond) // until the stream is there; sooner, it is refused, which is as good
	s.Down()
	mustBe(t, <-ended, engine.ClassAway, engine.ReasonEngineAway)
	_, err := e.Observe(t.Context())
	mustBe(t, err, engine.ClassAway, engine.ReasonEngineAway)
	_, err = s.engine(t, "pi-02").Info(t.Context())
	mustBe(t, err, engine.ClassAway, engine.ReasonEngineAway)
	s.Up()
	if after := observed(t, e, before.ID); after.State != engine.StateRunning || !after.StartedAt.Equal(before.StartedAt) {
		t.Errorf("is %s, started at %s, want running since %s", after.State, after.StartedAt, before.StartedAt)
	}
	info, err := e.Info(t.Context())
	if err != nil || info.Name != "podman" || info.Version == "" || !info.Real {
		t.Errorf("info %+v, %v", info, err)
	}
}

// A person's pause, stop and crash are each told as what they are.
func TestStatesAreToldAsTheyAre(t *testing.T) {
	t.Parallel()
	s := start(t, podmantest.Options{})
	e := s.engine(t, "pi-01")
	c := run(t, e, web(t, "pi-01", ""))
	s.CLI("pause", c.ID)
	if got := observed(t, e, c.ID).State; got != engine.StatePaused {
		t.Errorf("paused: %s", got)
	}
	if err := e.Start(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if got := observed(t, e, c.ID).State; got != engine.StateRunning {
		t.Errorf("started from a pause: %s", got)
	}
	crash := web(t, "pi-01", `"args":["-exit","3"]`)
	crash.Deployment = "crash"
	crashed := run(t, e, crash)
	for until := time.Now().Add(time.Minute); !crashed.State.Ended() && time.Now().Before(until); {
		time.Sleep(20 * time.Millisecond)
		crashed = observed(t, e, crashed.ID)
	}
	if !crashed.State.Ended() || crashed.ExitCode != 3 || crashed.FinishedAt.IsZero() {
		t.Errorf("crashed: %+v", crashed)
	}
}
