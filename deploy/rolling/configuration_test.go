package rolling_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/rolling"
)

func TestADigestIsOfWhatAConfigurationMeans(t *testing.T) {
	t.Parallel()
	digest := func(text string, environment map[string]string) string {
		t.Helper()
		d, err := rolling.Digest(text, map[string]string{"accounts.conf": "accounts: { A: { users: [ {user: \"$a\", password: p} ] } }"}, environment)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	const text = "server_name: $POD\nmax: $MAX\nroutes: $ROUTES\ninclude \"accounts.conf\"\n"
	one := map[string]string{"POD": "nats-0", "MAX": "45Mi", "ROUTES": `["a", "b"]`}
	same := "# Another comment.\nserver_name: nats-0\nmax: 47185920\nroutes: [a, b]\ninclude accounts.conf\n"
	if digest(text, one) != digest(same, nil) {
		t.Error("the same configuration has another digest")
	}
	one["POD"] = "nats-1"
	if digest(text, one) == digest(same, nil) {
		t.Error("another server's configuration has the same digest")
	}
	if _, err := rolling.Digest("include \"other.conf\"", nil, nil); err == nil || !strings.Contains(err.Error(), "other.conf") {
		t.Errorf("a file that is not given: %v", err)
	}
}

func TestWhatAReloadCannotChangeIsTold(t *testing.T) {
	t.Parallel()
	c := start(t)
	text, err := os.ReadFile(c.files[0])
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, "\nserver_name: another\n"...)
	if err := os.WriteFile(c.files[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	changed, err := c.change(rolling.Options{})
	if !errors.Is(err, rolling.ErrNotReloadable) {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string(nil), changed); diff != "" {
		t.Errorf("changed (-want +got)\n%s", diff)
	}
}
