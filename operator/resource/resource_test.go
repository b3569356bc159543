package resource

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTargetsAreReadAsKubectlReadsThem(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		want string // resource:name,name; …
		says string // a part of the error
	}{
		"a kind":                          {args: []string{"deployments"}, want: "deployments:"},
		"a kind by its short name":        {args: []string{"fleetdep"}, want: "deployments:"},
		"a kind with its group":           {args: []string{"Device.fleet.nationtech.io"}, want: "devices:"},
		"a kind and names":                {args: []string{"dev", "a", "b", "a"}, want: "devices:a,b"},
		"several kinds":                   {args: []string{"deploy,rollout"}, want: "deployments:; rollouts:"},
		"several kinds and a name":        {args: []string{"deploy,rollout", "web"}, want: "deployments:web; rollouts:web"},
		"the category":                    {args: []string{"fleet"}, want: "deployments:; devices:"},
		"kinds with names":                {args: []string{"device/a", "deployment/web", "device/b"}, want: "devices:a,b; deployments:web"},
		"nothing":                         {says: "missing kind"},
		"a kind that is none":             {args: []string{"pods"}, says: "deployments, devices, rollouts"},
		"a slash that comes too late":     {args: []string{"devices", "device/a"}, says: "give the kind once"},
		"a slash that is missing":         {args: []string{"device/a", "b"}, says: "not of the form KIND/NAME"},
		"a name that no device can have":  {args: []string{"device", "Edge.01"}, says: "RFC 1123"},
		"an empty name behind the slash":  {args: []string{"device/"}, says: "RFC 1123"},
		"a kind that is none, with slash": {args: []string{"pod/a"}, says: "unknown kind"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			targets, err := ParseTargets(tt.args)
			if tt.says != "" {
				if err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Fatalf("error %v, want one with %q", err, tt.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, target := range targets {
				got = append(got, target.Resource.Plural+":"+strings.Join(target.Names, ","))
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, "; ")); diff != "" {
				t.Errorf("targets (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryColumnHasItsCell(t *testing.T) {
	t.Parallel()
	v := testView(t)
	c := NewCatalog(v, v.Recorded)
	for _, r := range resources() {
		keys := r.Keys(c)
		if len(keys) == 0 {
			t.Errorf("no %s to look at", r.Plural)
		}
		for _, key := range keys {
			if i := r.Show(c, key); len(i.Cells) != len(r.Columns) {
				t.Errorf("%s %s has %d cells for %d columns", r.Singular, key, len(i.Cells), len(r.Columns))
			}
		}
	}
}
