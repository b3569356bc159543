package template_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/score"
	"fleet.nationtech.io/projections/template"
)

func canonical(t interface{ Fatal(...any) }, services any) []byte {
	data, err := json.Marshal(map[string]any{"services": services})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := eventlog.Score{Type: score.TypePodmanV0, Data: data}.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// labels are key and value in turns, of which a person set those that do not begin with
// "own".
func labels(kv ...string) map[string]eventlog.OwnedLabel {
	m := map[string]eventlog.OwnedLabel{}
	for i := 0; i < len(kv); i += 2 {
		owner := "kubectl"
		if strings.HasPrefix(kv[i], "own") {
			owner = eventlog.OwnerDevice
		}
		m[kv[i]] = eventlog.OwnedLabel{Value: kv[i+1], Owner: owner}
	}
	return m
}

func service(fields string) string {
	return `{"data":{"services":[{` + fields + `}]},"type":"PodmanV0"}`
}

func TestAScoreIsFilledInForADevice(t *testing.T) {
	t.Parallel()
	has := labels("site", "berlin", "own", "x86_64", "empty", "", "x.example/key", "v", "repo", "UP")
	for name, test := range map[string]struct {
		fields, want string
		err          error
	}{
		"an id and labels":                          {`"args":["$(device.id)/$(device.labels.site)","$(device.labels.x.example/key)"],"image":"a","name":"a"`, `"args":["d1/berlin","v"],"image":"a","name":"a"`, nil},
		"a value of nothing":                        {`"env":{"A":"<$(device.labels.empty)>"},"image":"a","name":"a"`, `"env":{"A":"<>"},"image":"a","name":"a"`, nil},
		"the literal":                               {`"args":["$$(device.id)","$$$(device.labels.none)"],"image":"a","name":"a"`, `"args":["$(device.id)","$$(device.labels.none)"],"image":"a","name":"a"`, nil},
		"what means nothing beside what does":       {`"args":["$(date)","$(device.id)","$(device","$"],"image":"a","name":"a"`, `"args":["$(date)","d1","$(device","$"],"image":"a","name":"a"`, nil},
		"a label of the device in an argument":      {`"args":["$(device.labels.own)"],"image":"a","name":"a"`, `"args":["x86_64"],"image":"a","name":"a"`, nil},
		"a label that it does not have":             {`"args":["$(device.labels.none)"],"image":"a","name":"a"`, "", &template.Missing{Label: "none", Field: "args"}},
		"a label of the device in an image":         {`"image":"a:$(device.labels.own)","name":"a"`, "", &template.Missing{Label: "own", Field: "image", Own: true}},
		"another's label in an image":               {`"image":"a:$(device.labels.site)","name":"a"`, `"image":"a:berlin","name":"a"`, nil},
		"a label of the device in a host's path":    {`"image":"a","name":"a","volumes":["/srv/$(device.labels.own):/x"]`, "", &template.Missing{Label: "own", Field: "volumes", Own: true}},
		"a label of the device in a container's":    {`"image":"a","name":"a","volumes":["/srv:/x/$(device.labels.own)"]`, `"image":"a","name":"a","volumes":["/srv:/x/x86_64"]`, nil},
		"a label of the device in a volume's name":  {`"image":"a","name":"a","volumes":["v-$(device.labels.own):/x"]`, `"image":"a","name":"a","volumes":["v-x86_64:/x"]`, nil},
		"an image that nobody can pull":             {`"image":"$(device.labels.repo)/a/$(device.labels.repo)","name":"a"`, "", &template.Invalid{}},
		"two volumes at one path there":             {`"image":"a","name":"a","volumes":["a:/x/d1","b:/x/$(device.id)"]`, "", &template.Invalid{}},
		"a program of no name":                      {`"command":["$(device.labels.empty)"],"image":"a","name":"a"`, "", &template.Invalid{}},
		"a field that this version does not know":   {`"args":["$(device.id)"],"image":"a","name":"a","sidecar":{"args":["$(device.id)"]}`, `"args":["d1"],"image":"a","name":"a","sidecar":{"args":["$(device.id)"]}`, nil},
		"a text that needs escapes around a place":  {`"configs":{"/a":"\"$(device.id)\"\n\\$(device.id)é"},"image":"a","name":"a"`, `"configs":{"/a":"\"d1\"\n\\d1é"},"image":"a","name":"a"`, nil},
		"an argument that becomes longer than such": {`"args":["` + strings.Repeat("x", 4090) + `$(device.id)$(device.labels.site)"],"image":"a","name":"a"`, "", &template.Invalid{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tmpl := template.Of([]byte(service(test.fields)))
			if tmpl == nil {
				t.Fatal("nothing is filled in")
			}
			got, err := tmpl.Render("d1", has)
			if test.err == nil {
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(service(test.want), string(got)); diff != "" {
					t.Errorf("filled in (-want +got):\n%s", diff)
				}
				return
			}
			var invalid *template.Invalid
			if errors.As(test.err, &invalid) {
				if !errors.As(err, &invalid) || invalid.Message == "" || template.Reason(err) != template.ReasonInvalid {
					t.Errorf("error is %v, want one of reason %s", err, template.ReasonInvalid)
				}
				return
			}
			if diff := cmp.Diff(test.err, err); diff != "" || template.Reason(err) != template.ReasonMissing {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsTheSameForAllIsNoTemplate(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		service(`"image":"a","name":"a"`), service(`"args":["$(date) $(dev"],"image":"a","name":"a"`),
		service(`"image":"a","labels":{"a":"$(device.id)"},"name":"a"`), service(`"env":{"$(device.id)":"x"},"image":"a","name":"$(device.id)"`),
		`{"data":{"services":[{"args":["$(device.id)"]}]},"type":"WasmV9"}`, `{"data":{"services":"$(device.id)"},"type":"PodmanV0"}`, `$(device.id)`, ``,
	} {
		if template.Of([]byte(raw)) != nil {
			t.Errorf("%s would be filled in", raw)
		}
	}
}

var placePattern = regexp.MustCompile(`\$?\$\(device\.(?:id\)|labels\.([a-z./]+)\))?`)

// fill is what a person would do: it fills one text in.
func fill(text, id string, has map[string]eventlog.OwnedLabel, owned func(at int) bool) (string, bool) {
	ok := true
	var out strings.Builder
	last := 0
	for _, m := range placePattern.FindAllStringSubmatchIndex(text, -1) {
		out.WriteString(text[last:m[0]])
		last = m[1]
		switch whole := text[m[0]:m[1]]; {
		case strings.HasPrefix(whole, "$$"):
			out.WriteString(whole[1:])
		case m[2] < 0:
			out.WriteString(id)
		default:
			l, there := has[text[m[2]:m[3]]]
			ok = ok && there && (l.Owner != eventlog.OwnerDevice || owned(m[0]))
			out.WriteString(l.Value)
		}
	}
	return out.String() + text[last:], ok
}

func texts(parts ...string) *rapid.Generator[string] {
	parts = append(parts, "$(device.id)", "$(device.labels.site)", "$(device.labels.x.y/z)", "$(device.labels.own)", "$(device.labels.none)", "$$(device.id)", "$$$(device.labels.site)")
	return rapid.Map(rapid.SliceOfN(rapid.SampledFrom(parts), 0, 5), func(p []string) string { return strings.Join(p, "") })
}

// What is spliced is what an author would have written for the device, in canonical form.
func TestWhatIsSplicedIsWhatAFullRenderGives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		free := texts("a", " ", "\"", "\\", "\n", "é", "\u2028", "<", "$(date)", "\x01", ",", ":", "}", "]")
		list := rapid.SliceOfN(free, 0, 4)
		var services []map[string]any
		for i := range rapid.IntRange(1, 3).Draw(t, "services") {
			services = append(services, map[string]any{
				"name": fmt.Sprint("s", i), "image": texts("a", "/", ":").Draw(t, "image"), "args": list.Draw(t, "args"), "command": list.Draw(t, "command"),
				"env":     rapid.MapOfN(rapid.SampledFrom([]string{"A", "\"B", "é"}), free, 0, 3).Draw(t, "env"),
				"configs": rapid.MapOfN(rapid.SampledFrom([]string{"/a", "/b", "/\n"}), free, 0, 3).Draw(t, "configs"),
				"volumes": rapid.SliceOfN(texts("/srv", "d", ":/x", ":ro", "/"), 0, 3).Draw(t, "volumes"),
				"labels":  map[string]string{"a": free.Draw(t, "label")}, "unknown": []any{1.5, "x", nil, map[string]any{"args": []string{"$(device.id)"}}},
			})
		}
		value := rapid.StringMatching(`([A-Za-z0-9][A-Za-z0-9._-]{0,5}[A-Za-z0-9])?`)
		has := labels("site", value.Draw(t, "site"), "x.y/z", value.Draw(t, "key"), "own", value.Draw(t, "own"))
		for _, k := range []string{"site", "own"} {
			if rapid.IntRange(0, 4).Draw(t, "without "+k) == 0 {
				delete(has, k)
			}
		}
		raw := canonical(t, services)
		whole, ok, templated := []map[string]any{}, true, false
		one := func(text string, owned func(int) bool) string {
			out, good := fill(text, "d1", has, owned)
			ok, templated = ok && good, templated || strings.Contains(text, "$(device.")
			return out
		}
		anywhere, nowhere := func(int) bool { return true }, func(int) bool { return false }
		for _, s := range services {
			full := map[string]any{"name": s["name"], "labels": s["labels"], "unknown": s["unknown"], "image": one(s["image"].(string), nowhere)}
			for _, name := range []string{"args", "command", "volumes"} {
				filled := []string{}
				for _, text := range s[name].([]string) {
					owned := anywhere
					if name == "volumes" && strings.HasPrefix(text, "/") {
						owned = func(at int) bool { return at >= strings.IndexByte(text, ':') }
					}
					filled = append(filled, one(text, owned))
				}
				full[name] = filled
			}
			for _, name := range []string{"env", "configs"} {
				filled := map[string]string{}
				for k, text := range s[name].(map[string]string) {
					filled[k] = one(text, anywhere)
				}
				full[name] = filled
			}
			whole = append(whole, full)
		}
		tmpl := template.Of(raw)
		if (tmpl != nil) != templated {
			t.Fatalf("filled in: %v, want %v: %s", tmpl != nil, templated, raw)
		}
		if tmpl == nil {
			return
		}
		for _, other := range []string{"UP", "", "a.b"} { // what is remembered of others changes nothing
			_, _ = tmpl.Render("d0", labels("site", other, "x.y/z", "1", "own", other))
		}
		want := canonical(t, whole)
		got, err := tmpl.Render("d1", has)
		var missing *template.Missing
		switch {
		case errors.As(err, &missing) != !ok:
			t.Fatalf("error %v, and a full render could be made: %v", err, ok)
		case err == nil && (!bytes.Equal(got, want) || eventlog.Hash(got) != eventlog.Hash(want)):
			t.Fatalf("filled in (-want +got):\n%s", cmp.Diff(string(want), string(got)))
		case err != nil && ok: // a device would refuse it
			if _, refused := score.Decode(want); refused == nil {
				t.Fatalf("%v, and a device takes it: %s", err, want)
			}
		}
	})
}

// A device that changes all labels that it may change is sent the same images, from the
// same paths.
func TestALabelThatADeviceOwnsNeverChoosesAnImage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		image := texts("a", "/", ":", "-")
		volumes := []string{"/" + texts("srv", "/").Draw(t, "host") + ":/x", texts("v").Draw(t, "name") + ":/y"}
		raw := canonical(t, []map[string]any{{"name": "a", "image": "a" + image.Draw(t, "image"), "volumes": volumes, "args": []string{texts().Draw(t, "args")}}})
		tmpl := template.Of(raw)
		if tmpl == nil || score.CheckAuthored(raw) != nil {
			return // nothing is filled in, or no device is sent it
		}
		var chosen []string
		for _, own := range []string{"one", "two", ""} {
			has := labels("site", "berlin", "x.y/z", "1")
			for _, k := range rapid.SliceOfN(rapid.SampledFrom([]string{"own", "none", "site"}), 0, 3).Draw(t, "labels") {
				if was, there := has[k]; !there || was.Owner == eventlog.OwnerDevice { // what a person set is not the device's to change
					has[k] = eventlog.OwnedLabel{Value: own, Owner: eventlog.OwnerDevice}
				}
			}
			got, err := tmpl.Render("d1", has)
			if err != nil {
				continue // it is sent nothing
			}
			s, err := score.Decode(got)
			if err != nil {
				t.Fatalf("%v: %s", err, got)
			}
			chosen = append(chosen, s.Services[0].Image+" "+s.Services[0].Volumes[0].Host)
		}
		for _, c := range chosen {
			if c != chosen[0] {
				t.Fatalf("the device is sent %q or %q, as it likes: %s", chosen[0], c, raw)
			}
		}
	})
}
