package person_test

import (
	"testing"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/person"
)

func TestAPersonMayWhatTheServersLetThemPublish(t *testing.T) {
	t.Parallel()
	shop := eventlog.RequestSubject("ann", "shop", eventlog.Wildcard)
	everywhere := eventlog.RequestSubject("ann", eventlog.Wildcard, eventlog.Wildcard)
	for name, tt := range map[string]struct {
		publish []string
		subject string
		want    bool
	}{
		"an operator of a namespace asks there":             {[]string{shop}, eventlog.RequestSubject("ann", "shop", "web"), true},
		"an operator of a namespace does not ask elsewhere": {[]string{shop}, eventlog.RequestSubject("ann", "lab", "web"), false},
		"nobody asks in the name of another":                {[]string{everywhere}, eventlog.RequestSubject("bob", "shop", "web"), false},
		"an operator of all namespaces":                     {[]string{everywhere}, eventlog.RequestSubject("ann", "lab", "web"), true},
		"a viewer":                                          {[]string{eventlog.UserInfoAPI}, eventlog.RequestSubject("ann", "shop", "web"), false},
		"one who may publish everything":                    {[]string{">"}, eventlog.RequestSubject("ann", "shop", "web"), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := (&person.Person{Publish: tt.publish}).May(tt.subject); got != tt.want {
				t.Errorf("May(%s) is %v, want %v", tt.subject, got, tt.want)
			}
		})
	}
	if (*person.Person)(nil).May("a") {
		t.Error("nobody may publish")
	}
}
