package rules

import (
	"regexp"
	"strings"
	"testing"
)

func TestPatterns(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		pattern         string
		accepts, refuse []string
	}{
		"an image is any reference that a registry can have": {
			ImagePattern,
			[]string{
				"nginx", "nginx:1.27", "library/nginx", "docker.io/library/nginx:1.27", "localhost/fleet-hello:1",
				"localhost:5000/a", "127.0.0.1:5000/a/b/c:x", "[::1]:5000/a", "reg.example.org:443/a_b/c__d/e-f/g--h.i:v1.0_rc-2",
				"a@sha256:" + strings.Repeat("a", 64), "quay.io/a/b:1@sha256:" + strings.Repeat("0", 64),
				"fault.test/pull-error", "Registry.Example.org/a",
			},
			[]string{"", " ", "nginx 1", "Nginx", "docker.io/library/Nginx", "a:", "a:b:c", "a@sha256:abc", "/a", "a/", "a//b", "a_", "http://a/b", "a:-x", "a\n"},
		},
		"a port is from 1 to 65535, with a host's before it or not": {
			PortPattern,
			[]string{"80", "8080:80", "1:65535", "127.0.0.1:53:53/udp", "[::1]:80:80", "80/tcp", "0.0.0.0:1:1", "255.255.255.255:65535:65535/tcp"},
			[]string{"", "0", "65536", "080", "70000:80", "80:", ":80", "80-90", "80/sctp", "256.0.0.1:80:80", "a:80:80", "80 ", "127.0.0.1::80", "127.0.0.1:80"},
		},
		"a volume has two absolute ends, or a name": {
			VolumePattern,
			[]string{"data:/data", "data:/data:ro", "/srv/x y:/srv:rw,z", "a.b-c_d:/x:Z,noexec,rshared"},
			[]string{"", "data", "data:data", ":/data", "./x:/y", "data:/", "data:/data:", "data:/data:rx", "data:/data:ro,", "da ta:/data", "-a:/b"},
		},
		"a duration has a unit": {
			DurationPattern,
			[]string{"10s", "1m30s", "1.5h", "100ms", "0s"},
			[]string{"10", "s", "-1s", "1 s", "9999999s", "1d", "1s1h", "999999h999999h999999h"},
		},
		"memory counts in 1024s": {
			MemoryPattern,
			[]string{"64Mi", "64m", "64M", "1g", "1Gi", "1024", "512Ki", "100b", "999999999Gi"},
			[]string{"", "9999999999Gi", "0", "-1", "1.5g", "64MB", "64mi", "Mi", "64 Mi"},
		},
		"a user is a name or number": {
			UserPattern,
			[]string{"0", "1000:1000", "www-data", "a:b", "svc$"},
			[]string{"", ":", "a:", "a b", "-a"},
		},
		"a label's key may have a prefix": {
			LabelKeyPattern,
			[]string{"site", "a/b", "fleet.nationtech.io/device", "A_b.c-1"},
			[]string{"", "/a", "a/", "a/b/c", "-a", "a-", "A.b/c", strings.Repeat("a", 64)},
		},
		"a label's value may be empty": {
			LabelValuePattern,
			[]string{"", "lab", "A_b.c-1", strings.Repeat("a", 63)},
			[]string{"-a", "a b", "é", strings.Repeat("a", 64)},
		},
		"a name is a label": {
			LabelPattern,
			[]string{"a", "pi-01", strings.Repeat("a", 63)},
			[]string{"", "a.b", "A", "-a", "a-", strings.Repeat("a", 64)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := regexp.MustCompile("^(?:" + tt.pattern + ")$")
			for _, s := range tt.accepts {
				if !whole.MatchString(s) {
					t.Errorf("%q is refused", s)
				}
			}
			for _, s := range tt.refuse {
				if whole.MatchString(s) {
					t.Errorf("%q is accepted", s)
				}
			}
		})
	}
}
