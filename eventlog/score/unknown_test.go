package score_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog/score"
)

func TestUnknownFieldsAreNamedWithTheNearestKnown(t *testing.T) {
	t.Parallel()
	const at, unknown = "spec.score.data.services[0]", " is not known to this version"
	for name, test := range map[string]struct {
		service string
		want    []string
	}{
		"every field known":                       {`"ports":["80"],"env":{"ANY":"x"},"labels":{"any":"x"},"configs":{"/any":"x"}`, nil},
		"a letter missing":                        {`"port":["80"]`, []string{at + ".port" + unknown + "; did you mean ports?"}},
		"the long name of a short one":            {`"enviroment":{}`, []string{at + ".enviroment" + unknown + "; did you mean env?"}},
		"two letters swapped":                     {`"imgae":"x"`, []string{at + ".imgae" + unknown + "; did you mean image?"}},
		"capitals":                                {`"readonly":true`, []string{at + ".readonly" + unknown + "; did you mean readOnly?"}},
		"a field of another place":                {`"memory":"1g"`, []string{at + ".memory" + unknown + "; did you mean resources.memory?"}},
		"a field below another":                   {`"healthCheck":{"exec":["x"],"http":{"pot":1}}`, []string{at + ".healthCheck.http.pot" + unknown + "; did you mean port?"}},
		"nothing like it":                         {`"gpus":1`, []string{at + ".gpus" + unknown}},
		"a name that is no name":                  {`"a b\n":1`, []string{at + `."a b\n"` + unknown}},
		"several, in the order of their names":    {`"zzz":1,"yyy":1`, []string{at + ".yyy" + unknown, at + ".zzz" + unknown}},
		"a field of the right name, wrong letter": {`"Image":"y"`, []string{at + ".Image" + unknown + "; did you mean image?"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := score.Unknown(podman(`{"name":"a","image":"b",` + test.service + `}`))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("unknown fields (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnknownFieldsOfAnotherTypeAreNobodysBusiness(t *testing.T) {
	t.Parallel()
	if got := score.Unknown([]byte(`{"type":"WasmV9","data":{"modules":[]}}`)); got != nil {
		t.Errorf("of a type that this version does not know, it says %q", got)
	}
}

// Who writes a score chooses how many fields it has and what they are called.
func TestAMessageNamesFewOfManyUnknownFields(t *testing.T) {
	t.Parallel()
	fields := map[string]any{"name": "a", "image": "b"}
	for i := range 2000 {
		fields[strings.Repeat("x", 50+i)] = 1
	}
	service, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	got := score.Unknown(podman(string(service)))
	if len(got) != 17 || got[16] != "1984 more fields are not known to this version" {
		t.Errorf("%d sentences, the last: %s", len(got), got[len(got)-1])
	}
	if n := len(strings.Join(got, "")); n > 4096 {
		t.Errorf("%d bytes are said", n)
	}
}
