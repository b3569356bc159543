package install

import "testing"

func TestWhatIsSaidOfALoadBalancer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		at   []string
		host string
		want string
	}{
		"the host is its address":    {[]string{"192.0.2.7"}, "192.0.2.7", "The load balancer has 192.0.2.7."},
		"the host is a name":         {[]string{"192.0.2.7"}, "devices.example.com", "The load balancer has 192.0.2.7. devices.example.com must lead there."},
		"the host is one of several": {[]string{"192.0.2.7", "192.0.2.8"}, "192.0.2.7", "The load balancer has 192.0.2.7 and 192.0.2.8."},
		"no host is given, by IPv6": {
			[]string{"2001:db8::7"},
			"",
			"The load balancer has 2001:db8::7. Give a name that leads there: --set devices.host=NAME. Then install again.",
		},
		"no host is given": {
			[]string{"a.elb.example.com"},
			"",
			"The load balancer has a.elb.example.com. Give what devices use, that or a name that leads there: --set devices.host=a.elb.example.com. Then install again.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := balanced(tt.at, tt.host); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
