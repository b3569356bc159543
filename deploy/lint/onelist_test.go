package lint_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"pgregory.net/rapid"

	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/crds/manifests"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog/score"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

// gate is the real API server, asked by dry runs.
type gate struct{ deployments dynamic.ResourceInterface }

func newGate(t *testing.T) gate {
	t.Helper()
	cluster := localapitest.Shared(t)
	return gate{dynamic.NewForConfigOrDie(cluster.Config).
		Resource(v1alpha1.SchemeGroupVersion.WithResource("deployments")).Namespace(cluster.Namespace(t))}
}

// compare fails where the API server and eventlog/score, by which devices and
// operators read a score, do not say the same of it.
func (g gate) compare(t testing.TB, services any) {
	t.Helper()
	document, err := json.Marshal(map[string]any{"type": "PodmanV0", "data": map[string]any{"services": services}})
	if err != nil {
		t.Fatal(err)
	}
	var tagged map[string]any
	if err := json.Unmarshal(document, &tagged); err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": "Deployment", "metadata": map[string]any{"name": "x"},
		"spec": map[string]any{"targetSelector": map[string]any{"matchLabels": map[string]any{"a": "b"}}, "score": tagged},
	}}
	_, refused := g.deployments.Create(t.Context(), object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	var status apierrors.APIStatus
	if refused != nil && (!errors.As(refused, &status) || !apierrors.IsInvalid(refused)) {
		t.Fatalf("the API server: %v\n%s", refused, document)
	}
	said := score.Problems(document)
	var refusal *score.Refusal
	if err := score.CheckAuthored(document); (err != nil) != (len(said) > 0) || err != nil && (!errors.As(err, &refusal) || refusal.Message != said[0]) {
		t.Fatalf("the operator says %v, and the list of problems is %q\n%s", err, said, document)
	}
	// A device gets what is filled in. Where nothing is, it is of the operator's mind.
	if _, err := score.Decode(document); !bytes.Contains(document, []byte("$(")) && (err != nil) != (len(said) > 0) {
		t.Fatalf("a device says %v, and the operator %q\n%s", err, said, document)
	}
	if (refused != nil) != (len(said) > 0) {
		t.Fatalf("the API server says %v\na device says %q\n%s", refused, said, document)
	}
	if refused == nil {
		return
	}
	var answered []string
	for _, c := range status.Status().Details.Causes {
		answered = append(answered, c.Field+": "+c.Message)
	}
	for _, sentence := range said {
		if !slices.ContainsFunc(answered, func(a string) bool { return strings.Contains(a, sentence) || sameShape(a, sentence) }) {
			t.Errorf("a device says\n\t%s\nthe API server says\n\t%s\n%s", sentence, strings.Join(answered, "\n\t"), document)
		}
	}
	// Of what is no port, the API server also says where it would listen.
	noPort := slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "a port is") })
	if len(said) != len(answered) && !strings.Contains(said[0], "spec.") && !noPort {
		t.Errorf("a device says\n\t%s\nthe API server says\n\t%s\n%s", strings.Join(said, "\n\t"), strings.Join(answered, "\n\t"), document)
	}
}

// sameShape says whether both are about the shape of one field: of lengths, and of
// a map's values, the API server's words differ from version to version.
func sameShape(answer, sentence string) bool {
	field, _, _ := strings.Cut(sentence, ": it has ")
	return field != sentence && strings.HasPrefix(answer, field+": ")
}

// service is a good one with one more field.
func service(fields string) string { return `{"name":"a","image":"x",` + fields + `}` }

const other = `,{"name":"b","image":"x","ports":["127.0.0.1:18090:8080"]}`

// Cases that somebody has met, or thought of.
func TestWhatADeviceRefusesIsRefusedAtApplyWithTheSameSentence(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	for name, test := range map[string]struct {
		services string
		says     string // of both; empty where both accept
	}{
		"a good service":                              {service(`"ports":["80"]`), ""},
		"a configs' path that climbs":                 {service(`"configs":{"/etc/../x":"a"}`), `configs "/etc/../x": each key is`},
		"a configs' path with two slashes":            {service(`"configs":{"//x":"a"}`), "each key is"},
		"a configs' path that ends in one":            {service(`"configs":{"/x/":"a"}`), "each key is"},
		"a configs' path that is the root":            {service(`"configs":{"/":"a"}`), "each key is"},
		"a configs' path with dots in names":          {service(`"configs":{"/..x/.y/...":"a"}`), ""},
		"a volume over the whole container":           {service(`"volumes":["d:/."]`), `volumes "d:/.": the path in the container`},
		"a volume whose path climbs":                  {service(`"volumes":["d:/a/.."]`), "the path in the container"},
		"a volume with two slashes":                   {service(`"volumes":["d:/a//b"]`), "the path in the container"},
		"a volume with a slash at its end":            {service(`"volumes":["d:/data/:ro"]`), ""},
		"two volumes at one path":                     {service(`"volumes":["d:/data","e:/data"]`), `volumes "d:/data": two volumes`},
		"two volumes at one path, one with a slash":   {service(`"volumes":["d:/data","e:/data/:ro"]`), "two volumes"},
		"a volume below another":                      {service(`"volumes":["d:/data","e:/data/x"]`), ""},
		"a volume and a config at one path":           {service(`"volumes":["d:/data/"],"configs":{"/data":"a"}`), `configs "/data": a volume is mounted there`},
		"a config below a volume":                     {service(`"volumes":["d:/data"],"configs":{"/data/x":"a"}`), ""},
		"a volume below a config":                     {service(`"volumes":["d:/data/x"],"configs":{"/data":"a"}`), "nothing can be below a file"},
		"a config below another":                      {service(`"configs":{"/etc/a":"x","/etc/a/b":"y"}`), `configs "/etc/a": a volume is mounted there, or`},
		"a config beside one that begins alike":       {service(`"configs":{"/etc/a":"x","/etc/ab":"y"}`), ""},
		"a start period that overflows":               {service(`"healthCheck":{"exec":["/x"],"startPeriod":"999999h999999h999999h"}`), "a start period is a duration"},
		"the longest start period":                    {service(`"healthCheck":{"exec":["/x"],"startPeriod":"999999h999999m999999s"}`), ""},
		"an interval that overflows":                  {service(`"healthCheck":{"exec":["/x"],"interval":"999999h999999h999999h"}`), "an interval is a duration"},
		"an interval of nothing":                      {service(`"healthCheck":{"exec":["/x"],"interval":""}`), "an interval is a duration"},
		"memory that overflows":                       {service(`"resources":{"memory":"999999999999999999Gi"}`), "memory is a whole number"},
		"the most memory":                             {service(`"resources":{"memory":"999999999Gi"}`), ""},
		"processors just under a hundredth":           {service(`"resources":{"cpus":"0.0099"}`), "cpus is a number"},
		"a NUL in a variable's name":                  {service(`"env":{"A\u0000B":"x"}`), `env: no process and no file can be given a NUL`},
		"a NUL in a variable's value":                 {service(`"env":{"A":"a\u0000b"}`), `spec.score.data.services[0].env.A in body should match '^`},
		"a NUL in an argument":                        {service(`"args":["x\u0000y"]`), "args: no process and no file can be given a NUL"},
		"a NUL in a command":                          {service(`"command":["/x\u0000y"]`), "command: no process and no file can be given a NUL"},
		"a NUL in a configs' path":                    {service(`"configs":{"/a\u0000b":"x"}`), "configs: no process and no file can be given a NUL"},
		"a NUL in a volume's path":                    {service(`"volumes":["d:/a\u0000b"]`), "volumes: no process and no file can be given a NUL"},
		"a NUL in a volume on the host":               {service(`"volumes":["/a\u0000b:/x"]`), "volumes: no process and no file can be given a NUL"},
		"a NUL in a check's command":                  {service(`"healthCheck":{"exec":["/x\u0000y"]}`), "healthCheck.exec: no process and no file can be given a NUL"},
		"a NUL in a check's path":                     {service(`"healthCheck":{"http":{"port":80,"path":"/\u0000"}}`), "has no control characters"},
		"a NUL in a label":                            {service(`"labels":{"a":"x\u0000"}`), "labels: no process and no file can be given a NUL"},
		"a NUL in a user":                             {service(`"user":"a\u0000"`), "a user is a name or number"},
		"a NUL in a file's content":                   {service(`"configs":{"/a":"x\u0000"}`), ""},
		"a check's path that is none":                 {service(`"healthCheck":{"http":{"port":80,"path":"/%zz"}}`), "'%' only before two hexadecimal digits"},
		"a capability that Linux has not":             {service(`"capAdd":["NOPE"]`), `capAdd "NOPE": a Linux capability`},
		"capabilities with and without CAP_":          {service(`"capAdd":["CAP_SYS_TIME","NET_RAW"],"capDrop":["ALL"]`), ""},
		"a check by no program":                       {service(`"healthCheck":{"exec":[""]}`), "healthCheck.exec: the first item is the program"},
		"a command of no program":                     {service(`"command":["","x"]`), "command: the first item is the program"},
		"an argument that is empty":                   {service(`"command":["x",""],"args":[""]`), ""},
		"options that exclude each other":             {service(`"volumes":["d:/x:z,ro,Z"]`), `volumes "d:/x:z,ro,Z": one at most of each`},
		"an option twice":                             {service(`"volumes":["d:/x:ro,ro"]`), "one at most of each"},
		"propagations that exclude each other":        {service(`"volumes":["d:/x:rshared,noexec,private"]`), "one at most of each"},
		"options that do not exclude each other":      {service(`"volumes":["/d:/x:ro,z,noexec,nosuid,nodev,rslave"]`), ""},
		"a host port twice in two services":           {service(`"ports":["18090:8080"]`) + other, `service a, port "18090:8080": the same host port twice`},
		"all addresses and one of them":               {service(`"ports":["0.0.0.0:18090:8080"]`) + other, `port "0.0.0.0:18090:8080": the same host port twice`},
		"one address twice, with the protocol":        {service(`"ports":["127.0.0.1:18090:8080/tcp"]`) + other, "the same host port twice"},
		"one port of two protocols":                   {service(`"ports":["127.0.0.1:18090:8080/udp"]`) + other, ""},
		"one port on two addresses":                   {service(`"ports":["127.0.0.10:18090:8080"]`) + other, ""},
		"a port that begins as another":               {service(`"ports":["1809:8080"]`) + other, ""},
		"all of IPv6 and one address of it":           {service(`"ports":["[::]:80:80","[::1]:80:80"]`), "the same host port twice"},
		"all of IPv6 and all of IPv4":                 {service(`"ports":["[::]:80:80","0.0.0.0:80:80"]`), ""},
		"all addresses and one of IPv6":               {service(`"ports":["80:80","[::1]:80:80"]`), "the same host port twice"},
		"one address of IPv6 in two spellings":        {service(`"ports":["[::1]:80:80","[0:0:0:0:0:0:0:1]:80:80"]`), `ports "[0:0:0:0:0:0:0:1]:80:80": an IPv6 address is written in its shortest form`},
		"an address of IPv4 in one of IPv6":           {service(`"ports":["[::ffff:127.0.0.1]:80:80"]`), "an IPv6 address is written in its shortest form"},
		"an address of IPv4 in brackets":              {service(`"ports":["[127.0.0.1]:80:80"]`), "an IPv6 address is written in its shortest form"},
		"brackets around nothing like an address":     {service(`"ports":["[:::]:80:80"]`), "an IPv6 address is written in its shortest form"},
		"an address that ends in zeros":               {service(`"ports":["10.0.0.0:80:80","110.0.0.0:80:80"]`), ""},
		"an image that ends in a line":                {service(`"image":"x\n"`), "not an image reference"},
		"ports on the host's network":                 {service(`"network":"host","ports":["80"]`), "only the network bridge publishes ports"},
		"a field in other letters":                    {`{"name":"a","Image":"x"}`, "each service needs an image"},
		"an empty network":                            {service(`"network":""`), "the networks are"},
		"a name of nothing":                           {`{"name":"","image":"x"}`, "service (no name): each service needs a name"},
		"a number for a text":                         {service(`"env":{"A":1}`), `services[0].env.A in body must be of type string: "integer"`},
		"nothing for a list":                          {service(`"ports":null,"env":{"A":null}`), ""},
		"nothing for a list's item":                   {service(`"ports":[null]`), "services[0].ports[0] in body must be of type string"},
		"a fraction of a process":                     {service(`"resources":{"pids":1.5}`), "services[0].resources.pids: it has a fraction"},
		"more ports than a service may have":          {service(`"ports":[` + strings.Repeat(`"80",`, 20) + `"80"]`), "services[0].ports: it has 21 items"},
		"an image longer than one may be":             {`{"name":"a","image":"` + strings.Repeat("a", 1025) + `"}`, "services[0].image: it has 1025 characters"},
		"more variables than a service may have":      {service(`"env":{` + manyKeys(257) + `}`), "services[0].env: it has 257 keys"},
		"as many variables as a service may have":     {service(`"env":{` + manyKeys(256) + `}`), ""},
		"a field that nobody knows":                   {service(`"enviroment":{"A":"b"}`), ""},
		"what is filled in for each device":           {service(`"image":"r.example:$(device.labels.port)/$(device.labels.arch)/a$(device.id):v$(device.labels.x.example/v)-1","env":{"A":"$(device.id)$(device.labels.site)","B":"a $$(device.b $(date) $( $(dev"},"volumes":["/srv/$(device.id):/x/$(device.labels.a)","d$(device.id):/y"],"command":["$(device.id)"],"args":["--at=$(device.labels.site)"],"configs":{"/a":"id $(device.id)\n"}`), ""},
		"a place of nothing in a variable":            {service(`"env":{"A":"$(device.name)"}`), "services[0].env.A: it has a \"$(device.\" that is neither"},
		"a place of nothing in an argument":           {service(`"args":["$(device.labels.-a)"]`), "services[0].args[0]: it has a \"$(device.\" that is neither"},
		"a place that does not end in a command":      {service(`"command":["$(device.id"]`), "services[0].command[0]: it has a \"$(device.\" that is neither"},
		"a place without a label's key in a file":     {service(`"configs":{"/a":"$(device.labels.)"}`), "services[0].configs./a: it has a \"$(device.\" that is neither"},
		"a place of nothing in a volume":              {service(`"volumes":["/srv/$(device.x):/x"]`), "services[0].volumes[0]: it has a \"$(device.\" that is neither"},
		"a place of nothing in an image":              {service(`"image":"a/$(device.x)"`), "services[0].image: it has a \"$(device.\" that is neither"},
		"a place in a digest":                         {service(`"image":"a@sha256:$(device.labels.digest)"`), "not an image reference"},
		"a place in a volume's options":               {service(`"volumes":["d:/x:$(device.labels.mode)"]`), "a volume is"},
		"two volumes at one path of each device":      {service(`"volumes":["d:/x/$(device.id)","e:/x/$(device.id)"]`), "two volumes are mounted at one path"},
		"a place in a variable's name":                {service(`"env":{"$(device.id)":"a"}`), "env: $(device.id) and $(device.labels.KEY) are filled in in image"},
		"a place in the path of a file":               {service(`"configs":{"/$(device.id)":"a"}`), "configs: $(device.id) and"},
		"a place in a label":                          {service(`"labels":{"a":"$(device.id)"}`), "labels: $(device.id) and"},
		"a place in a check's command":                {service(`"healthCheck":{"exec":["/x","$(device.id)"]}`), "healthCheck.exec: $(device.id) and"},
		"a place in a check's path":                   {service(`"healthCheck":{"http":{"port":80,"path":"/$(device.id)"}}`), "healthCheck.http.path: $(device.id) and"},
		"a place in a name":                           {`{"name":"$(device.id)","image":"x"}`, "each service needs a name"},
		"a place in a port":                           {service(`"ports":["$(device.labels.port):80"]`), "a port is"},
		"a place in a user":                           {service(`"user":"$(device.id)"`), "a user is"},
		"no service":                                  {``, "a PodmanV0 score needs at least one service"},
		"a message that is longer than the API takes": {service(`"args":["` + strings.Repeat("x", 4000) + `"],"volumes":["` + strings.Repeat("x", 250) + `"]`), "a volume is"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var services any
			if err := json.Unmarshal([]byte("["+test.services+"]"), &services); err != nil {
				t.Fatal(err)
			}
			g.compare(t, services)
			said := strings.Join(score.Problems([]byte(`{"type":"PodmanV0","data":{"services":[`+test.services+`]}}`)), "\n")
			if !strings.Contains(said, test.says) || (test.says == "") != (said == "") {
				t.Errorf("said is %q, want %q", said, test.says)
			}
		})
	}
}

func manyKeys(n int) string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf(`"K%d":"v"`, i)
	}
	return strings.Join(keys, ",")
}

// The API server and the devices are of one mind about any score.
func TestAPIServerAndDevicesAreOfOneMindAboutAnyScore(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 3).Draw(rt, "services")
		services := make([]any, n)
		for i := range services {
			services[i] = anyService().Draw(rt, "service")
		}
		g.compare(one{t, rt}, services)
	})
}

// one reports to rapid, so that it finds the smallest score, with the test's context.
type one struct {
	testing.TB
	rt *rapid.T
}

func (o one) Helper()                      { o.rt.Helper() }
func (o one) Errorf(text string, v ...any) { o.rt.Errorf(text, v...) }
func (o one) Fatalf(text string, v ...any) { o.rt.Fatalf(text, v...) }
func (o one) Fatal(v ...any)               { o.rt.Fatal(v...) }

// anyService is good in most fields and odd in a few.
func anyService() *rapid.Generator[map[string]any] {
	return rapid.Custom(func(t *rapid.T) map[string]any {
		s := map[string]any{"name": rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "name"), "image": "x"}
		for range rapid.IntRange(0, 4).Draw(t, "fields") {
			name := rapid.SampledFrom(slices.Sorted(fieldNames())).Draw(t, "field")
			s[name] = fields[name].Draw(t, name)
		}
		return s
	})
}

func fieldNames() func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range fields {
			if !yield(name) {
				return
			}
		}
	}
}

// texts are parts that are joined to texts that are nearly right.
func texts(parts ...string) *rapid.Generator[string] {
	parts = append(parts, "\x00", "", "é", "\n", `"`, "'", "%")
	return rapid.Map(rapid.SliceOfN(rapid.SampledFrom(parts), 1, 5), func(p []string) string { return strings.Join(p, "") })
}

func choice(all ...string) *rapid.Generator[string] {
	return rapid.OneOf(rapid.SampledFrom(all), rapid.SampledFrom(all), texts(all...))
}

func lists(of *rapid.Generator[string]) *rapid.Generator[any] {
	return rapid.Map(rapid.SliceOfN(of, 0, 4), func(l []string) any {
		out := make([]any, len(l))
		for i := range l {
			out[i] = l[i]
		}
		return out
	})
}

// maps have one key, or keys that are good: of several bad ones, each side may name
// another.
func maps(keys, values *rapid.Generator[string], good ...string) *rapid.Generator[any] {
	return rapid.OneOf(
		rapid.Map(rapid.MapOfN(keys, values, 0, 1), plain),
		rapid.Map(rapid.MapOfN(rapid.SampledFrom(good), rapid.SampledFrom(good), 0, 3), plain))
}

func plain(m map[string]string) any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

func text(of *rapid.Generator[string]) *rapid.Generator[any] {
	return rapid.Map(of, func(s string) any { return s })
}

func below(of map[string]*rapid.Generator[any]) *rapid.Generator[any] {
	names := make([]string, 0, len(of))
	for name := range of {
		names = append(names, name)
	}
	slices.Sort(names)
	return rapid.Custom(func(t *rapid.T) any {
		out := map[string]any{}
		for range rapid.IntRange(0, 3).Draw(t, "fields") {
			name := rapid.SampledFrom(names).Draw(t, "field")
			out[name] = of[name].Draw(t, name)
		}
		return out
	})
}

var (
	words     = choice("x", "/bin/x", "A", "A=B", "a b", "$(device.id)", "$(device.labels.a/b)", "$", "$(", "$(device.", ")")
	numbers   = rapid.Map(rapid.SampledFrom([]int64{-1, 0, 1, 80, 1000, 1001, 65535, 65536, 1 << 31, 1 << 40}), func(n int64) any { return n })
	durations = choice("10s", "1m30s", "1.5h", "100ms", "99ms", "0s", "999999h", "1", "h", "m", "s", ".")

	fields = map[string]*rapid.Generator[any]{
		"name":          text(choice("a", "a-b", "a.b", "-", "A")),
		"image":         text(choice("nginx", "nginx:1", "r.example:5000/a/b", "@sha256:", "/", ":", strings.Repeat("0", 64), "$(device.id)", "$(device.labels.a)", "$")),
		"ports":         lists(choice("80", "8080:", "8080:80", "[::]:", "[::1]:", "[::ffff:1.2.3.4]:", "127.0.0.1:", "0.0.0.0:", "10.0.0.0:8080:80", "/udp", "/tcp", "[::]:8080:80", "0.0.0.0:8080:80", "127.0.0.1:8080:80")),
		"command":       lists(words),
		"args":          lists(words),
		"env":           maps(words, words, "A", "B", "C"),
		"volumes":       lists(choice("d:/data", "/srv:/data/", "d:/data/x", "d:", "/data", "/etc/a", "d:/etc/a", ":ro", ",rw", ":z", ",Z", ":noexec,exec", "/", "/.", "..", ":bind,rbind", "$(device.id)", "$(device.labels.a/b)", "$$")),
		"network":       text(choice("bridge", "host", "none")),
		"restartPolicy": text(choice("Always", "OnFailure", "Never")),
		"pullPolicy":    text(choice("Always", "IfNotPresent", "Never")),
		"user":          text(choice("0", "1000:1000", "www-data", "$", ":", "-")),
		"capAdd":        lists(choice("ALL", "NET_ADMIN", "CAP_BPF", "CAP_", "NOPE", "net_admin")),
		"capDrop":       lists(choice("ALL", "CAP_ALL", "CHOWN")),
		"labels":        maps(choice("a", "fleet.nationtech.io/", "io.nationtech.fleet."), words, "a", "b"),
		"configs":       maps(choice("/etc/a", "/data", "/", ".", "..", "//", "x", ":"), words, "/etc/a", "/etc/a/b", "/data", "/data/x"),
		"readOnly":      rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		"gpu":           numbers,
		"resources": below(map[string]*rapid.Generator[any]{
			"memory": text(choice("64Mi", "1g", "9", "999999999999999999", "Gi", "k", "b", "0", ".")),
			"cpus":   text(choice("0.5", "0.01", "0.0099", "1000", "1000.1", ".", "1", "e")),
			"pids":   numbers, "disk": numbers,
		}),
		"healthCheck": below(map[string]*rapid.Generator[any]{
			"exec": lists(words), "interval": text(durations), "startPeriod": text(durations), "retries": numbers, "tcp": numbers,
			"http": below(map[string]*rapid.Generator[any]{"port": numbers, "path": text(choice("/", "/a", "%20", "?", "#", "\x7f"))}),
		}),
	}
)

// The schema of the CRD and the shape by which a score is read are one.
func TestTheSchemaIsTheShapeOfAScore(t *testing.T) {
	t.Parallel()
	definitions, err := manifests.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	schema := definitions[0].Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties["score"].Properties["data"]
	want := map[string]string{}
	listSchema("data", schema, want)
	got := map[string]string{}
	listShape("data", score.Data(), got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-CRD +eventlog/score):\n%s", diff)
	}
}

func listSchema(at string, s apiextensionsv1.JSONSchemaProps, into map[string]string) {
	number := func(n ...*int64) int64 {
		for _, n := range n {
			if n != nil {
				return *n
			}
		}
		return 0
	}
	into[at] = fmt.Sprint(s.Type, strings.TrimPrefix(s.Format, "int"), number(s.MaxItems, s.MaxProperties), number(s.MaxLength), s.Pattern)
	for name, field := range s.Properties {
		listSchema(at+"."+name, field, into)
	}
	if s.Items != nil {
		listSchema(at+"[]", *s.Items.Schema, into)
	}
	if s.AdditionalProperties != nil {
		listSchema(at+"[]", *s.AdditionalProperties.Schema, into)
	}
}

func listShape(at string, s *score.Shape, into map[string]string) {
	pattern, bits := "", ""
	if s.Match != nil {
		pattern = s.Match.String()
	}
	if s.Bits > 0 {
		bits = strconv.Itoa(s.Bits)
	}
	into[at] = fmt.Sprint(s.Kind, bits, s.Items, s.Chars, pattern)
	for name, field := range s.Fields {
		listShape(at+"."+name, field, into)
	}
	if s.Each != nil {
		listShape(at+"[]", s.Each, into)
	}
}
