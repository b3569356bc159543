package zitadel_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/zitadel"
)

func TestADeviceGetsAMachineUserAndKeysAndLosesThem(t *testing.T) {
	t.Parallel()
	for name, g := range generations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, devprovider.Options{})
			w.SetGeneration(g)
			c, ctx := w.client("enroller"), t.Context()

			if u, err := c.LookUp(ctx, "pi-01"); err != nil || u.Standing != zitadel.None {
				t.Errorf("at first: %+v, %v", u, err)
			}
			created, err := c.EnsureDevice(ctx, zitadel.Device{ID: "pi-01", Description: "edge device"})
			if err != nil || !created {
				t.Fatalf("created %t, %v", created, err)
			}
			want := zitadel.User{
				ID: "pi-01", Standing: zitadel.Ours, Username: "pi-01", Description: "edge device", Organization: devices, State: zitadel.Active, JWT: true,
			}
			if u, err := c.LookUp(ctx, "pi-01"); err != nil || cmp.Diff(want, u) != "" {
				t.Errorf("%v (-want +got)\n%s", err, cmp.Diff(want, u))
			}

			expires := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
			key, err := c.AddKey(ctx, "pi-01", public(), expires)
			w.must(err)
			if !w.HasKey(key, "pi-01") {
				t.Errorf("the provider does not have key %s", key)
			}
			keys, err := c.Keys(ctx, "pi-01")
			if diff := cmp.Diff([]zitadel.Key{{ID: key, Expires: expires}}, keys, cmpopts.IgnoreFields(zitadel.Key{}, "Created")); err != nil || diff != "" {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
			if len(keys) > 0 && (time.Since(keys[0].Created) > time.Hour || time.Since(keys[0].Created) < -time.Minute) {
				t.Errorf("the key was made at %s", keys[0].Created)
			}
			made, file, err := c.MakeKey(ctx, "pi-01", expires)
			if err != nil || made == "" || len(file) == 0 {
				t.Errorf("a key that the provider makes: %q, %d bytes, %v", made, len(file), err)
			}

			for range 2 { // what is so already is no error
				w.must(c.RemoveKey(ctx, "pi-01", key))
				w.must(c.Deactivate(ctx, "pi-01"))
			}
			if u, err := c.LookUp(ctx, "pi-01"); err != nil || u.State != zitadel.Inactive {
				t.Errorf("deactivated: %+v, %v", u, err)
			}
			for range 2 {
				w.must(c.Reactivate(ctx, "pi-01"))
			}
			for range 2 {
				w.must(c.Delete(ctx, "pi-01"))
			}
			if _, err := c.EnsureDevice(ctx, zitadel.Device{ID: "pi-01"}); !errors.Is(err, zitadel.ErrOtherOrganization) {
				t.Errorf("an id that was deleted: %v", err)
			}
		})
	}
}

func TestEachCaseOfATakenIDIsTold(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		taken devprovider.User
		says  error // nil: it is the device's own user
	}{
		"ours":                            {devprovider.User{ID: "pi-01", Organization: devices, Machine: true, TokenType: devprovider.JWT}, nil},
		"ours, and its tokens are opaque": {devprovider.User{ID: "pi-01", Organization: devices, Machine: true}, nil},
		"another organization's":          {devprovider.User{ID: "pi-01", Organization: others, Machine: true}, zitadel.ErrOtherOrganization},
		"a person's":                      {devprovider.User{ID: "pi-01", Organization: devices}, zitadel.ErrNotMachine},
		"a username of another user":      {devprovider.User{ID: "77", Username: "pi-01", Organization: devices, Machine: true}, zitadel.ErrNameTaken},
	} {
		for server, g := range generations {
			t.Run(name+" on "+server, func(t *testing.T) {
				t.Parallel()
				w := start(t, devprovider.Options{})
				w.SetGeneration(g)
				_, err := w.AddUser(tt.taken)
				w.must(err)
				c, ctx := w.client("enroller"), t.Context()
				created, err := c.EnsureDevice(ctx, zitadel.Device{ID: "pi-01"})
				if created || !errors.Is(err, tt.says) {
					t.Fatalf("created %t, %v; want %v", created, err, tt.says)
				}
				if tt.says != nil {
					return
				}
				if u, err := c.LookUp(ctx, "pi-01"); err != nil || !u.JWT || u.Standing != zitadel.Ours {
					t.Errorf("%+v, %v", u, err)
				}
			})
		}
	}
}

// The provider made the user, and its answer was lost.
func TestAfterALostAnswerTheDeviceHasItsUser(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	session := w.signIn("enroller")
	target, err := url.Parse(w.Issuer())
	w.must(err)
	var asked atomic.Int64
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			if r.Request.URL.Path == "/v2/users/new" && asked.Add(1) == 1 {
				panic(http.ErrAbortHandler)
			}
			return nil
		},
	}
	server := httptest.NewServer(proxy)
	defer server.Close()
	var waits []time.Duration
	c := w.clientBy(session, quick(&waits), func(o *zitadel.Options) { o.Issuer = server.URL })
	created, err := c.EnsureDevice(t.Context(), zitadel.Device{ID: "pi-01"})
	if err != nil || created || asked.Load() != 2 {
		t.Errorf("created %t, %v, asked %d times", created, err, asked.Load())
	}
	if u, err := c.LookUp(t.Context(), "pi-01"); err != nil || u.Standing != zitadel.Ours {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestAUserThatWasDeactivatedOrLockedIsActiveAgain(t *testing.T) {
	t.Parallel()
	for name, g := range generations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, devprovider.Options{})
			w.SetGeneration(g)
			c, ctx := w.client("enroller"), t.Context()
			for _, shut := range []func(string) error{func(id string) error { return w.SetActive(id, false) }, w.Lock} {
				_, err := c.EnsureDevice(ctx, zitadel.Device{ID: "pi-01"})
				w.must(err)
				w.must(shut("pi-01"))
				created, err := c.EnsureDevice(ctx, zitadel.Device{ID: "pi-01"})
				if created || err != nil {
					t.Fatalf("created %t, %v", created, err)
				}
				if u, err := c.LookUp(ctx, "pi-01"); err != nil || u.State != zitadel.Active {
					t.Errorf("%+v, %v", u, err)
				}
			}
		})
	}
}
