package gates

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestServersAreReadAndCheckedAtTheStart(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		servers, tokens []string
		want            []Server
		says            string // of the error; empty: there is none
	}{
		"none": {},
		"two, one of which wants a token": {
			servers: []string{"main=http://prometheus:9090", "far=https://far.example/prom/"}, tokens: []string{"far=/etc/token"},
			want: []Server{{Name: "main", URL: "http://prometheus:9090"}, {Name: "far", URL: "https://far.example/prom/", TokenFile: "/etc/token"}},
		},
		"a URL without a name":             {servers: []string{"http://prometheus:9090"}, says: "write name=URL"},
		"a name that is no label":          {servers: []string{"Main=http://a"}, says: `"Main" is no name of a server`},
		"a name that is too long":          {servers: []string{strings.Repeat("a", 64) + "=http://a"}, says: "at most 63"},
		"a name twice":                     {servers: []string{"a=http://a", "a=http://b"}, says: "--prometheus a is given twice"},
		"another scheme":                   {servers: []string{"a=ftp://a"}, says: "--prometheus a: write a URL that begins with http:// or https://"},
		"no scheme":                        {servers: []string{"a=prometheus:9090"}, says: "begins with http://"},
		"no host":                          {servers: []string{"a=http://:9090"}, says: "names a host"},
		"a password in the URL":            {servers: []string{"a=http://me:geheim@a"}, says: "--prometheus-token-file a=FILE"},
		"a token in the URL's query":       {servers: []string{"a=http://a?token=geheim"}, says: "neither ? nor #"},
		"a URL that cannot be read":        {servers: []string{"a=http://me:geheim@a:port"}, says: "--prometheus a: write a URL"},
		"a token file of no server":        {servers: []string{"a=http://a"}, tokens: []string{"b=f"}, says: "give --prometheus b=URL, too"},
		"a token file without a name":      {tokens: []string{"/etc/token"}, says: "write name=FILE"},
		"a token file that is given twice": {servers: []string{"a=http://a"}, tokens: []string{"a=f", "a=g"}, says: "a is given twice"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseServers(tt.servers, tt.tokens)
			if tt.says != "" {
				if err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("error %v, want something with %q", err, tt.says)
				}
				if err != nil && strings.Contains(err.Error(), "geheim") {
					t.Errorf("the error repeats a secret: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("servers (-want +got):\n%s", diff)
			}
		})
	}
}
