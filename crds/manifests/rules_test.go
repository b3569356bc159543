package manifests_test

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/crds/v1alpha1"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

// asked is a Deployment of which a test writes only what it is about, as YAML.
type asked struct {
	name     string // "ok" when empty
	selector string // {matchLabels: {site: lab}} when empty
	score    string // one good service when empty
	service  string // the score's only service
	rollout  string // none when empty
}

func (a asked) object(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	or := func(s, otherwise string) string {
		if s == "" {
			return otherwise
		}
		return s
	}
	service := or(a.service, "{name: web, image: nginx}")
	text := "{apiVersion: fleet.nationtech.io/v1alpha1, kind: Deployment, " +
		"metadata: {name: " + strconv.Quote(or(a.name, "ok")) + "}, " +
		"spec: {targetSelector: " + or(a.selector, "{matchLabels: {site: lab}}") + ", " +
		"score: " + or(a.score, "{type: PodmanV0, data: {services: ["+service+"]}}")
	if a.rollout != "" {
		text += ", rollout: " + a.rollout
	}
	text += "}}"
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
		t.Fatalf("the test's own YAML: %v\n%s", err, text)
	}
	return object
}

// scoreOf is a PodmanV0 score of these services.
func scoreOf(services ...string) string {
	return "{type: PodmanV0, data: {services: [" + strings.Join(services, ", ") + "]}}"
}

// with is a good service and more fields.
func with(fields string) string { return "{name: web, image: nginx, " + fields + "}" }

func TestRulesAccept(t *testing.T) {
	t.Parallel()
	cluster := policedAPI(t)
	client := dynamic.NewForConfigOrDie(cluster.Config).
		Resource(v1alpha1.SchemeGroupVersion.WithResource("deployments")).Namespace(cluster.Namespace(t))

	everything := `ports: ["8080:80", "80", "127.0.0.1:54:53/udp", "53:53/tcp", "53:53/udp"], command: [a], args: [b], env: {K: V, E: ""},
		volumes: ["data:/data:ro", "/srv:/srv"], network: bridge, restartPolicy: OnFailure,
		resources: {memory: 64Mi, cpus: "0.5", pids: 100}, healthCheck: {exec: [x], interval: 10s, retries: 3, startPeriod: 5s},
		capAdd: [NET_ADMIN], capDrop: [ALL], readOnly: true, user: "1000:1000", labels: {a: b}, pullPolicy: Always, configs: {/etc/x.conf: text}`
	for name, tt := range map[string]asked{
		"the smallest there is":                 {},
		"every field of PodmanV0":               {service: with(everything)},
		"a name of 63 characters":               {name: strings.Repeat("a", 63)},
		"every device, said so":                 {selector: "{matchExpressions: [{key: fleet.nationtech.io/device, operator: Exists}]}"},
		"labels and expressions":                {selector: "{matchLabels: {a: b, c: ''}, matchExpressions: [{key: x/y, operator: In, values: [a, '']}, {key: z, operator: NotIn, values: [a]}, {key: w, operator: DoesNotExist}]}"},
		"an unknown type with data of its own":  {score: "{type: WasmV9, data: {modules: [{digest: x}]}}"},
		"an unknown type without data":          {score: "{type: WasmV9}"},
		"an unknown type isn't PodmanV0":        {score: "{type: WasmV9, data: {services: [{image: 'NOT AN IMAGE', network: mesh}]}}"},
		"unknown fields of PodmanV0":            {service: with("gpu: 1, healthCheck: {exec: [x], tcp: 1}")},
		"a check by http":                       {service: with("healthCheck: {http: {port: 80, path: /}}")},
		"an image with registry and digest":     {service: "{name: web, image: 'localhost:5000/a/b:1@sha256:" + strings.Repeat("a", 64) + "'}"},
		"one host port on two addresses":        {service: with(`ports: ["127.0.0.1:80:80", "127.0.0.2:80:80"]`)},
		"one container port twice, hosts freed": {score: scoreOf(`{name: a, image: x, ports: ["80"]}`, `{name: b, image: x, ports: ["80"]}`)},
		"20 services":                           {score: scoreOf(manyServices(20, "")...)},
		"100 host ports":                        {score: scoreOf(manyPorts(5, 20)...)},
		"much text, under the limit":            {service: with("configs: {/a: " + strings.Repeat("x", 120<<10) + "}, env: {A: " + strings.Repeat("x", 30<<10) + "}")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := client.Create(context.Background(), tt.object(t), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRulesRefuseWithASentence(t *testing.T) {
	t.Parallel()
	cluster := policedAPI(t)
	client := dynamic.NewForConfigOrDie(cluster.Config).
		Resource(v1alpha1.SchemeGroupVersion.WithResource("deployments")).Namespace(cluster.Namespace(t))

	for name, tt := range map[string]struct {
		asked
		says string
	}{
		"a name with a dot":        {asked{name: "a.b"}, "metadata.name a.b: a Deployment's name is a label, without dots"},
		"a name of 64 characters":  {asked{name: strings.Repeat("a", 64)}, "at most 63 characters"},
		"an empty selector":        {asked{selector: "{}"}, "spec.targetSelector: Invalid value: an empty selector would mean every device: write a label"},
		"a selector of nothing":    {asked{selector: "{matchLabels: {}, matchExpressions: []}"}, "matchExpressions: [{key: fleet.nationtech.io/device, operator: Exists}]"},
		"an operator of no kind":   {asked{selector: "{matchExpressions: [{key: a, operator: Like, values: [b]}]}"}, `operator "Like" of key a: the operators are In, NotIn, Exists and DoesNotExist`},
		"In without values":        {asked{selector: "{matchExpressions: [{key: a, operator: In}]}"}, "In of key a: In and NotIn need values"},
		"Exists with values":       {asked{selector: "{matchExpressions: [{key: a, operator: Exists, values: [b]}]}"}, "Exists of key a: Exists and DoesNotExist look at the key alone"},
		"a label's key with space": {asked{selector: "{matchLabels: {'a b': c}}"}, "each key must be a label's key"},
		"a label's bad value":      {asked{selector: "{matchLabels: {a: 'b c'}}"}, `value "b c": a label's value has letters`},
		"an expression's bad key":  {asked{selector: "{matchExpressions: [{key: /a, operator: Exists}]}"}, `key "/a": a label's key has letters`},
		"an expression's bad value": {
			asked{selector: "{matchExpressions: [{key: a, operator: In, values: [ok, '-x']}]}"}, `values of key a: "-x": a label's value has letters`,
		},
		"no type":                 {asked{score: "{type: ''}"}, "spec.score.type"},
		"no data":                 {asked{score: "{type: PodmanV0}"}, "a PodmanV0 score needs at least one service"},
		"no services":             {asked{score: scoreOf()}, "a PodmanV0 score needs at least one service"},
		"21 services":             {asked{score: scoreOf(manyServices(21, "")...)}, "must have at most 20 items"},
		"a service without name":  {asked{service: "{image: nginx}"}, "service (no name): each service needs a name"},
		"a service with a dot":    {asked{service: "{name: a.b, image: nginx}"}, "service a.b: each service needs a name: a label"},
		"two services, one name":  {asked{score: scoreOf("{name: a, image: x}", "{name: b, image: x}", "{name: a, image: z}")}, "service a: the names of a score's services must be unique"},
		"a service without image": {asked{service: "{name: web}"}, "service web: each service needs an image"},
		"an image with a space":   {asked{score: scoreOf("{name: ok, image: x}", "{name: web, image: 'nginx 1'}")}, `service web, image "nginx 1": not an image reference`},
		"an image in capitals":    {asked{service: "{name: web, image: docker.io/Nginx}"}, `image "docker.io/Nginx": not an image reference`},
		"a port of 0":             {asked{service: with(`ports: ["80", "0"]`)}, `service web, ports "0": a port is`},
		"a port of 65536":         {asked{service: with(`ports: ["65536:80"]`)}, `ports "65536:80": a port is`},
		"a host port twice":       {asked{score: scoreOf(`{name: a, image: x, ports: ["8080:80"]}`, `{name: b, image: x, ports: ["1:1", "8080:81/tcp"]}`)}, `service a, port "8080:80": the same host port twice`},
		"a host port twice in one": {
			asked{service: with(`ports: ["80", "8080:80", "8080:81"]`)}, `service web, port "8080:80": the same host port twice`,
		},
		"101 ports":                {asked{score: scoreOf(append(manyPorts(5, 20), `{name: more, image: x, ports: ["1:1"]}`)...)}, "a score can publish 100 ports at most"},
		"ports on the host's":      {asked{service: with(`network: host, ports: ["80"]`)}, "service web, network host: only the network bridge publishes ports"},
		"a volume without a path":  {asked{service: with(`volumes: ["data"]`)}, `service web, volumes "data": a volume is`},
		"a relative volume":        {asked{service: with(`volumes: ["./a:/b"]`)}, `volumes "./a:/b": a volume is`},
		"a volume's bad option":    {asked{service: with(`volumes: ["a:/b:rx"]`)}, `volumes "a:/b:rx": a volume is`},
		"a capability in small":    {asked{service: with("capAdd: [net_admin]")}, `capAdd "net_admin": a Linux capability in capitals`},
		"a variable without name":  {asked{service: with("env: {'': x}")}, "the name of an environment variable is not empty"},
		"a variable with '='":      {asked{service: with("env: {'A=B': x}")}, `env "A=B": the name of an environment variable`},
		"a number as a variable":   {asked{service: with("env: {A: 1}")}, `env.A: Invalid value: "integer": spec.score.data.services[0].env.A in body must be of type string`},
		"a relative config":        {asked{service: with("configs: {etc/x: text}")}, `configs "etc/x": each key is the absolute path`},
		"a label of the agent's":   {asked{service: with("labels: {io.nationtech.fleet.device: x}")}, "the agent's own"},
		"a network of no kind":     {asked{service: with("network: mesh")}, `network "mesh": the networks are bridge`},
		"a restart policy unknown": {asked{service: with("restartPolicy: always")}, `restartPolicy "always": the restart policies are Always`},
		"a pull policy unknown":    {asked{service: with("pullPolicy: Sometimes")}, `pullPolicy "Sometimes": the pull policies are`},
		"a user with a space":      {asked{service: with("user: 'a b'")}, `user "a b": a user is a name or number`},
		"memory in decimals":       {asked{service: with("resources: {memory: 1.5Gi}")}, `resources.memory "1.5Gi": memory is a whole number`},
		"no processors":            {asked{service: with("resources: {cpus: '0.0'}")}, `resources.cpus "0.0": cpus is a number of processors`},
		"processors in words":      {asked{service: with("resources: {cpus: half}")}, `resources.cpus "half": cpus is a number`},
		"no processes":             {asked{service: with("resources: {pids: 0}")}, "resources.pids: pids is a number of processes above 0"},
		"a check of neither kind":  {asked{service: with("healthCheck: {interval: 1s}")}, "healthCheck: a health check has exactly one of exec"},
		"a check of both kinds":    {asked{service: with("healthCheck: {exec: [a], http: {port: 1}}")}, "a health check has exactly one of exec"},
		"a check without port":     {asked{service: with("healthCheck: {http: {path: /}}")}, "a health check by http needs the container's port"},
		"a check's relative path":  {asked{service: with("healthCheck: {http: {port: 80, path: x}}")}, `healthCheck.http.path "x": the path of a health check begins with '/'`},
		"a check on no network":    {asked{service: with("network: none, healthCheck: {http: {port: 80}}")}, "can't be asked by http: write exec"},
		"a duration without unit":  {asked{service: with("healthCheck: {exec: [a], interval: '10'}")}, `healthCheck.interval "10": an interval is a duration`},
		"an interval too short":    {asked{service: with("healthCheck: {exec: [a], interval: 10ms}")}, "an interval is a duration of at least 100ms"},
		"a bad start period":       {asked{service: with("healthCheck: {exec: [a], startPeriod: soon}")}, `healthCheck.startPeriod "soon": a start period is a duration`},
		"no retries":               {asked{service: with("healthCheck: {exec: [a], retries: 0}")}, "healthCheck.retries: retries is from 1 to 1000"},
		"too much text":            {asked{service: with("configs: {/a: " + strings.Repeat("x", 100<<10) + ", /b: " + strings.Repeat("y", 100<<10) + "}")}, "a whole score must stay under 200 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := client.Create(context.Background(), tt.object(t), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if err == nil {
				t.Fatalf("accepted; want a refusal that says %q", tt.says)
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("refused, but without saying\n\t%s\nit says\n\t%v", tt.says, err)
			}
		})
	}
}

// manyServices makes n services with these further fields.
func manyServices(n int, fields string) []string {
	services := make([]string, n)
	for i := range services {
		services[i] = "{name: s" + strconv.Itoa(i) + ", image: nginx" + fields + "}"
	}
	return services
}

// manyPorts makes n services with p host ports each, all different.
func manyPorts(n, p int) []string {
	services := make([]string, n)
	for i := range services {
		ports := make([]string, p)
		for j := range ports {
			ports[j] = strconv.Quote("127.0.0.1:" + strconv.Itoa(1000+i*p+j) + ":80/udp")
		}
		services[i] = "{name: s" + strconv.Itoa(i) + ", image: nginx, ports: [" + strings.Join(ports, ", ") + "]}"
	}
	return services
}
