package signin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSettingsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for name, tt := range map[string]struct {
		change func(*Settings)
		want   string // a part of the error; empty: none
	}{
		"all is there":                         {func(*Settings) {}, ""},
		"on the loopback by http":              {func(s *Settings) { s.URL, s.Issuer = "http://localhost:18080", "http://127.0.0.1:8080" }, ""},
		"without an address":                   {func(s *Settings) { s.URL = "" }, "give --dashboard-url too"},
		"without client and project":           {func(s *Settings) { s.ClientID, s.Project = "", "" }, "give --dashboard-client-id, --dashboard-project too"},
		"an address by http":                   {func(s *Settings) { s.URL = "http://fleet.example.org" }, "could read a token"},
		"an issuer by http":                    {func(s *Settings) { s.Issuer = "http://id.example.org" }, "--dashboard-issuer"},
		"an address with a path":               {func(s *Settings) { s.URL = "https://fleet.example.org/fleet" }, "leave the path out"},
		"an address that is none":              {func(s *Settings) { s.URL = "fleet.example.org" }, "must be a URL"},
		"another scheme":                       {func(s *Settings) { s.URL = "ftp://fleet.example.org" }, "must be https"},
		"an address with a user":               {func(s *Settings) { s.URL = "https://me:secret@fleet.example.org" }, "must be a URL"},
		"a file of a secret that is not there": {func(s *Settings) { s.ClientSecretFile = "/nowhere" }, "--dashboard-client-secret-file"},
		"an empty secret":                      {func(s *Settings) { s.ClientSecretFile = file("\n") }, "is empty"},
		"a certificate that is none":           {func(s *Settings) { s.IssuerCAFile = file("x") }, "no certificate in PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Settings{URL: "https://fleet.example.org", Issuer: "https://id.example.org", ClientID: "c", Project: "p"}
			tt.change(&s)
			err := s.Check()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want something with %q", err, tt.want)
			}
		})
	}
}

func TestTheDashboardAnswersToTheNameOfItsAddressAlone(t *testing.T) {
	t.Parallel()
	for address, hosts := range map[string]map[string]bool{
		"https://fleet.example.org":      {"fleet.example.org": true, "FLEET.example.org": true, "fleet.example.org:443": true, "fleet.example.org:80": false, "evil.example": false, "fleet.example.org.evil.example": false, "": false, "127.0.0.1": false},
		"https://fleet.example.org:8443": {"fleet.example.org:8443": true, "fleet.example.org": false},
		"http://[::1]:18080":             {"[::1]:18080": true, "localhost:18080": false},
	} {
		c, err := Settings{URL: address, Issuer: "https://id.example.org", ClientID: "c", Project: "p"}.read()
		if err != nil {
			t.Fatal(err)
		}
		for host, want := range hosts {
			if got := c.sameHost(host); got != want {
				t.Errorf("%s answers to %q: %v, want %v", address, host, got, want)
			}
		}
	}
}
