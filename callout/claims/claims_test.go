package claims_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/callout/claims"
)

func TestClaimsAreReadInZitadelsForm(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		token string
		want  claims.Claims
		fails string
	}{
		"a machine's token names its owner and the roles of our project": {
			token: `{"sub":"pi-01","client_id":"pi-01","urn:zitadel:iam:user:resourceowner:id":"3000",
				"urn:zitadel:iam:org:project:3012:roles":{"device":{"3000":"acme.example.com"}}}`,
			want: claims.Claims{Subject: "pi-01", ClientID: "pi-01", Organization: "3000", Roles: map[string][]string{"device": {"3000"}}},
		},
		"roles of another project are not read": {
			token: `{"sub":"u","urn:zitadel:iam:org:project:9999:roles":{"admin":{"3000":"acme.example.com"}}}`,
			want:  claims.Claims{Subject: "u"},
		},
		"roles of the current project count where our project has no claim of its own": {
			token: `{"sub":"u","urn:zitadel:iam:org:project:roles":{"viewer":{"3000":"a","4000":"b"}}}`,
			want:  claims.Claims{Subject: "u", Roles: map[string][]string{"viewer": {"3000", "4000"}}},
		},
		"roles of two claims are never merged": {
			token: `{"sub":"u","urn:zitadel:iam:org:project:3012:roles":{"viewer":{"3000":"a"}},"urn:zitadel:iam:org:project:roles":{"admin":{"3000":"a"}}}`,
			want:  claims.Claims{Subject: "u", Roles: map[string][]string{"viewer": {"3000"}}},
		},
		"metadata is base64url without padding": {
			token: `{"sub":"u","urn:zitadel:iam:user:metadata":{"device_id":"cGktMDE"}}`,
			want:  claims.Claims{Subject: "u", Metadata: map[string]string{"device_id": "pi-01"}},
		},
		"metadata is padded standard base64": {
			token: `{"sub":"u","urn:zitadel:iam:user:metadata":{"device_id":"cGktMDE=","x":"+/+/"}}`,
			want:  claims.Claims{Subject: "u", Metadata: map[string]string{"device_id": "pi-01", "x": "\xfb\xff\xbf"}},
		},
		"names of claims are compared with regard to case": {
			token: `{"sub":"pi-01","SUB":"pi-02","Sub":"pi-03","DEVICE_ID":"pi-04"}`,
			want:  claims.Claims{Subject: "pi-01"},
		},
		"metadata that is no base64 is not read as absent": {
			token: `{"urn:zitadel:iam:user:metadata":{"device_id":"pi 01"}}`, fails: `metadata "device_id" is not base64`,
		},
		"metadata that is a number is refused":             {token: `{"urn:zitadel:iam:user:metadata":{"device_id":1}}`, fails: "is not a string"},
		"metadata that is a list is refused":               {token: `{"urn:zitadel:iam:user:metadata":[]}`, fails: "is not an object"},
		"a subject that is a number is refused":            {token: `{"sub":17}`, fails: "sub is not a string"},
		"a device id that is a list is refused":            {token: `{"device_id":["pi-01"]}`, fails: "device_id is not a string"},
		"an owner that is an object is refused":            {token: `{"urn:zitadel:iam:user:resourceowner:id":{}}`, fails: "is not a string"},
		"roles as a list of names are refused":             {token: `{"urn:zitadel:iam:org:project:3012:roles":["device"]}`, fails: "is not an object of roles"},
		"a role that names no organizations is refused":    {token: `{"urn:zitadel:iam:org:project:3012:roles":{"device":true}}`, fails: "is not an object of organizations"},
		"metadata longer than a kilobyte is refused":       {token: `{"urn:zitadel:iam:user:metadata":{"x":"` + strings.Repeat("A", 2000) + `"}}`, fails: "is not base64"},
		"a token without claims of ours says nothing":      {token: `{"iss":"x"}`},
		"a role that no organization granted is not there": {token: `{"urn:zitadel:iam:org:project:3012:roles":{"device":{}}}`, want: claims.Claims{Roles: map[string][]string{}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all map[string]any
			if err := json.Unmarshal([]byte(tt.token), &all); err != nil {
				t.Fatal(err)
			}
			got, err := claims.Read(all, "3012")
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("error %v, want one with %q", err, tt.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzReadNeverPanics(f *testing.F) {
	f.Add(`{"sub":"pi-01","urn:zitadel:iam:user:metadata":{"a":"cGk"},"urn:zitadel:iam:org:project:3012:roles":{"device":{"3000":"x"}}}`)
	f.Fuzz(func(t *testing.T, token string) {
		var all map[string]any
		if json.Unmarshal([]byte(token), &all) != nil {
			return
		}
		if c, err := claims.Read(all, "3012"); err != nil && !cmp.Equal(c, claims.Claims{}) {
			t.Errorf("claims %+v beside the error %v", c, err)
		}
	})
}
