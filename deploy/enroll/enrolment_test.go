package enroll

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/enroll/machine"
)

const secret = "hunter2"

func wishFor(flavour Flavour) Wish {
	w := Wish{ID: "pi-01", Labels: map[string]string{"site": "lab"}, NATS: Address{URL: "tls://nats.example.org:4222", CA: []byte("the CA")}}
	w.Auth = Auth{Flavour: flavour, Issuer: "https://auth.example.org", Project: "1", CA: []byte("the provider's CA")}
	switch flavour {
	case Shared:
		w.Auth = Auth{Flavour: Shared, User: "device-pi-01", Password: secret}
	case ZitadelJWT:
		w.Auth.Key = Key{Content: []byte(`{"keyId":"made-before","userId":"pi-01","key":"` + secret + `"}`), ID: "made-before", UserID: "pi-01"}
	}
	return w
}

func enrolmentIn(w *world, flavour Flavour) *Enrolment {
	sum := Binary{Content: []byte("agent"), Sum: "d4f0bc5a29de06b510f9aa428f1eedba926012b591fef7a518e776a7c9bd1824"}
	e := &Enrolment{
		Machine: w, Wish: wishFor(flavour), Fleet: theFleet{w}, Provider: theProvider{w},
		Binaries: &Binaries{read: map[string]Binary{"arm64": sum}},
		Now:      func() time.Time { return epoch }, Spread: func() float64 { return 0.5 }, Wait: time.Minute,
	}
	return e
}

func TestABlankDeviceIsEnrolledAndThenLeftAsItIs(t *testing.T) {
	t.Parallel()
	for _, flavour := range []Flavour{Shared, ZitadelJWT, Zitadel} {
		t.Run(string(flavour), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				out, err := enrolmentIn(w, flavour).Run(t.Context())
				if err != nil {
					t.Fatalf("%v after %v", err, w.log)
				}
				if !w.active || !w.enabled || !w.socket || w.owed || w.modes["/etc/fleet-agent/config.toml"] != 0o600 {
					t.Errorf("the device is %+v", w)
				}
				if s := out.Steps[len(out.Steps)-1]; flavour == Zitadel && (w.keyID != "key-1" || len(w.user.Keys) != 1 || s.Name != StepOldKeys) {
					t.Errorf("the device has key %q, the provider %v; the last step is %v", w.keyID, w.user.Keys, s)
				}
				w.log = nil
				again, err := enrolmentIn(w, flavour).Run(t.Context())
				if err != nil || len(w.log) > 0 || len(again.Changed()) > 0 {
					t.Errorf("again: %v, changes %v", err, w.log)
				}
				for _, s := range w.seen {
					if strings.Contains(s, secret) {
						t.Errorf("a secret is among the arguments: %s", s)
					}
				}
			})
		})
	}
}

// Guarantee: whatever call is the last one, an enrolment that is run again ends as one
// that was not broken off.
func TestAnEnrolmentThatIsBrokenOffAnywhereGoesOn(t *testing.T) {
	t.Parallel()
	for _, flavour := range []Flavour{Shared, ZitadelJWT, Zitadel} {
		whole := newWorld()
		synctest.Test(t, func(t *testing.T) {
			if _, err := enrolmentIn(whole, flavour).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
		for n := 1; n <= whole.calls; n++ {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, at call %d, after it %v", flavour, n, after), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld()
						w.breakAt, w.after = n, after
						if _, err := enrolmentIn(w, flavour).Run(t.Context()); !errors.Is(err, errCut) {
							t.Fatalf("error %v, want %v", err, errCut)
						}
						if len(w.journal) != 1 {
							t.Errorf("the device's journal has %q", w.journal)
						}
						w.breakAt = 0
						if _, err := enrolmentIn(w, flavour).Run(t.Context()); err != nil {
							t.Fatalf("again: %v after %v", err, w.log)
						}
						if diff := cmp.Diff(whole.files, w.files); diff != "" || w.owed || !w.active || !w.enabled || w.pending {
							t.Errorf("the device is otherwise than it should be: %+v (-want +got)\n%s", w, diff)
						}
						if flavour == Zitadel && (len(w.user.Keys) != 1 || w.user.Keys[0].ID != w.keyID) {
							t.Errorf("the device has key %q, the provider %v", w.keyID, w.user.Keys)
						}
					})
				})
			}
		}
	}
}

func TestADryRunAndARefusalChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld()
	e := enrolmentIn(w, Zitadel)
	e.DryRun = true
	out, err := e.Run(t.Context())
	if err != nil || len(w.log) > 0 || !out.DryRun || len(out.Changed()) > 0 || len(out.Steps) < 10 {
		t.Errorf("dry run: %v, changes %v, plan %v", err, w.log, out.Steps)
	}
	delete(w.probe, "podman")
	w.probe["machine"] = "riscv64"
	_, err = enrolmentIn(w, Zitadel).Run(t.Context())
	var failed *Error
	if !errors.As(err, &failed) || len(w.log) > 0 || !strings.Contains(failed.Try, "apt-get install podman") {
		t.Errorf("refused: %v, changes %v", err, w.log)
	}
	if len(w.journal) != 1 || !strings.Contains(w.journal[0], "no Podman") || !strings.Contains(w.journal[0], "riscv64") {
		t.Errorf("the device's journal has %q", w.journal)
	}
}

func TestWhyADeviceIsNotIn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		set  func(*world, *Enrolment)
		says []string
	}{
		"its agent does not answer":       {func(w *world, _ *Enrolment) { w.deaf, w.agentSays = true, "no TLS connection" }, []string{"is not in after 1m0s", "does not answer", "no TLS connection"}},
		"its configuration is wrong":      {func(w *world, _ *Enrolment) { w.crashed, w.agentSays = true, "unknown key" }, []string{"configuration is wrong", "unknown key"}},
		"another machine answers instead": {func(w *world, e *Enrolment) { w.elsewhere, e.Wish.Replace = true, true }, []string{"another machine answers"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				e := enrolmentIn(w, Zitadel)
				e.Now = time.Now
				w.probe["date"] = fmt.Sprint(time.Now().Unix())
				test.set(w, e)
				_, err := e.Run(t.Context())
				var failed *Error
				if !errors.As(err, &failed) || failed.Step != StepJoin {
					t.Fatalf("error %v", err)
				}
				for _, s := range test.says {
					if !strings.Contains(err.Error(), s) {
						t.Errorf("error %q does not say %q", err, s)
					}
				}
				if slices.ContainsFunc(w.log, func(s string) bool { return strings.HasPrefix(s, "remove") }) {
					t.Errorf("keys were removed before the device was in: %v", w.log)
				}
			})
		})
	}
}

// Guarantee: old keys go after the new one has let the device in.
func TestOldKeysGoLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.user = User{Standing: UserOurs, Keys: []UserKey{{ID: "old-1"}, {ID: "old-2"}}}
		if _, err := enrolmentIn(w, Zitadel).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		last := w.log[len(w.log)-2:]
		if diff := cmp.Diff([]string{"remove old-1", "remove old-2"}, last); diff != "" || !w.user.Active {
			t.Errorf("active %v (-want +got)\n%s", w.user.Active, diff)
		}
	})
}

func TestThePlanOfEachFinding(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		set   func(*Facts, *Wish, *Known)
		step  Name
		state State
		says  string
	}{
		"another kernel":                {func(f *Facts, _ *Wish, _ *Known) { f.Kernel = "FreeBSD" }, StepArch, Refused, "needs Linux"},
		"an architecture without agent": {func(f *Facts, _ *Wish, _ *Known) { f.Machine = "armv6l" }, StepArch, Refused, "armv6l"},
		"no agent at hand":              {func(_ *Facts, _ *Wish, k *Known) { k.NoBin = errors.New("none") }, StepArch, Refused, "no agent for aarch64"},
		"no systemd":                    {func(f *Facts, _ *Wish, _ *Known) { f.Systemd = "" }, StepSystemd, Refused, "systemd does not run"},
		"no Podman":                     {func(f *Facts, _ *Wish, _ *Known) { f.Podman = "" }, StepPodman, Refused, "has no Podman"},
		"an old Podman":                 {func(f *Facts, _ *Wish, _ *Known) { f.Podman = "podman version 3.4.4" }, StepPodman, Refused, "3.4.4"},
		"a Podman that does not run":    {func(f *Facts, _ *Wish, _ *Known) { f.Podman = "Illegal instruction" }, StepPodman, Refused, "Illegal instruction"},
		"a Podman without socket":       {func(f *Facts, _ *Wish, _ *Known) { f.PodmanSocket["LoadState"] = "not-found" }, StepPodman, Refused, "podman.socket"},
		"a full disk":                   {func(f *Facts, _ *Wish, _ *Known) { f.Disks[0].FreeMB = 12 }, StepDisk, Refused, "/usr/local/bin has 12 MB free"},
		"a read-only disk":              {func(f *Facts, _ *Wish, _ *Known) { f.ReadOnly = []string{"/etc"} }, StepDisk, Refused, "/etc cannot be written"},
		"a clock two years behind":      {func(f *Facts, _ *Wish, _ *Known) { f.ClockAhead = -2 * 365 * 24 * time.Hour }, StepClock, Refused, "730 days behind"},
		"a clock ten seconds off":       {func(f *Facts, _ *Wish, _ *Known) { f.ClockAhead = 10 * time.Second }, StepClock, Same, "10s off"},
		"no way to NATS": {func(f *Facts, _ *Wish, _ *Known) {
			f.Reach[0].Code, f.Reach[0].Said = 1, "bash: connect: Connection refused"
		}, StepNATS, Refused, "nats.example.org:4222: Connection refused"},
		"no answer of the provider":      {func(f *Facts, _ *Wish, _ *Known) { f.Reach[1].Code = reachTimedOut }, StepProvider, Refused, "no answer"},
		"nothing to try the way with":    {func(f *Facts, _ *Wish, _ *Known) { f.Reach[0].Code = reachUnknown }, StepNATS, Unknown, "nothing to try"},
		"a decommissioned device":        {func(_ *Facts, _ *Wish, k *Known) { k.Device.Decommissioned = true }, StepID, Refused, "was decommissioned"},
		"a revoked device":               {func(_ *Facts, _ *Wish, k *Known) { k.Device.Revoked = "Stolen" }, StepID, Refused, "revoked (Stolen)"},
		"an id of another organization":  {func(_ *Facts, _ *Wish, k *Known) { k.User.Standing = UserOthers }, StepID, Refused, "another organization"},
		"an id of a person":              {func(_ *Facts, _ *Wish, k *Known) { k.User.Standing = UserPerson }, StepID, Refused, "a person's"},
		"an id that is alive elsewhere":  {func(_ *Facts, _ *Wish, k *Known) { k.Pongs = []Pong{{}} }, StepID, Refused, "alive on another machine"},
		"an id that does not answer now": {func(_ *Facts, _ *Wish, k *Known) { k.Device.Known = true }, StepID, Refused, "does not answer now"},
		"one that this machine has had":  {func(f *Facts, _ *Wish, k *Known) { k.Device.Known, f.KeyUser = true, "pi-01" }, StepID, Change, "is made at the provider"},
		"one that is to be replaced":     {func(_ *Facts, w *Wish, k *Known) { k.Pongs, w.Replace = []Pong{{}}, true }, StepID, Same, "is taken from"},
		"ours and half done":             {func(_ *Facts, _ *Wish, k *Known) { k.User.Standing, k.User.Active, k.User.JWT = UserOurs, true, true }, StepID, Same, "goes on with it"},
		"ours with opaque tokens":        {func(_ *Facts, _ *Wish, k *Known) { k.User.Standing, k.User.Active = UserOurs, true }, StepID, Change, "become JWTs"},
		"keys that nobody was asked about": {func(_ *Facts, _ *Wish, k *Known) {
			k.Device, k.User = nil, &User{Standing: UserOurs, Active: true, JWT: true, Keys: []UserKey{{ID: "x"}}}
		}, StepID, Refused, "the fleet is not asked"},
		"a made key beside a rotated one": {func(f *Facts, w *Wish, _ *Known) { *w = wishFor(ZitadelJWT); f.KeyID, f.KeyUser = "rotated", "pi-01" }, StepKey, Kept, "may come of a rotation"},
		"one that is to be overwritten by it": {func(f *Facts, w *Wish, _ *Known) {
			*w = wishFor(ZitadelJWT)
			w.OverwriteKey = true
			f.KeyID, f.KeyUser = "rotated", "pi-01"
		}, StepKey, Change, "takes the place of rotated"},
		"a key file elsewhere, by hand": {func(f *Facts, w *Wish, _ *Known) {
			f.Config, _ = w.configFile()
			f.Config = bytes.Replace(f.Config, []byte("zitadel-key.json"), []byte("mine.json"), 1)
		}, StepConfig, Refused, "auth.key_file"},
		"another mode, by hand": {func(f *Facts, w *Wish, _ *Known) {
			f.Config, _ = wishFor(Shared).configFile()
			f.Config = append(f.Config, "# mine\n"...)
		}, StepConfig, Refused, "auth.mode"},
		"ours and inactive": {func(_ *Facts, _ *Wish, k *Known) { k.User.Standing = UserOurs }, StepID, Change, "reactivated"},
		"another device on this machine": {func(f *Facts, _ *Wish, _ *Known) {
			other := wishFor(Zitadel)
			other.ID = "pi-02"
			f.Config, _ = other.configFile()
		}, StepConfig, Refused, "is device pi-02 already"},
		"a configuration of an old wish": {func(f *Facts, w *Wish, _ *Known) { f.Config, _ = w.configFile(); w.Labels = nil }, StepConfig, Change, "brought up to date"},
		"one that a person changed": {func(f *Facts, w *Wish, _ *Known) {
			f.Config, _ = w.configFile()
			f.Config = append(f.Config, "# mine\n"...)
		}, StepConfig, Kept, "changed by hand"},
		"one that is to be overwritten": {func(f *Facts, w *Wish, _ *Known) {
			f.Config, w.OverwriteConfig = []byte("device_id = \"pi-01\"\n"), true
		}, StepConfig, Change, "a person had changed it"},
		"one that a person broke": {func(f *Facts, w *Wish, _ *Known) {
			f.Config, _ = w.configFile()
			f.Config = append(f.Config, "x = 1\n"...)
		}, StepConfig, Refused, "is not valid"},
		"a key that ends soon": {func(f *Facts, _ *Wish, k *Known) {
			f.KeyID, f.KeyUser, f.KeyExpires = "k", "pi-01", epoch.Add(time.Hour)
			k.User.Keys = []UserKey{{ID: "k"}}
		}, StepKey, Change, "ends on 2026-05-01"},
		"a key of another user":       {func(f *Facts, _ *Wish, _ *Known) { f.KeyID, f.KeyUser = "k", "pi-02" }, StepKey, Change, "is of user pi-02"},
		"a restart that is owed":      {func(f *Facts, _ *Wish, _ *Known) { f.Service["ActiveState"], f.RestartOwed = "active", true }, StepService, Change, "restarted"},
		"an agent of another version": {func(f *Facts, _ *Wish, _ *Known) { f.AgentSum, f.AgentVersion = "x", "v1" }, StepBinary, Change, "it was version v1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := Facts{
				Kernel: "Linux", Machine: "aarch64", Systemd: "252", Podman: "podman version 5.0.0", Disks: []Disk{{"/usr/local/bin", 4000}},
				PodmanSocket: map[string]string{"LoadState": "loaded"}, Service: map[string]string{},
				Reach: []Reach{{Host: "nats.example.org", Port: 4222}, {Host: "auth.example.org", Port: 443}},
			}
			w, k := wishFor(Zitadel), Known{User: &User{Standing: UserNone}, Device: &FleetDevice{}, Now: epoch}
			test.set(&f, &w, &k)
			s, found := NewPlan(f, w, k).step(test.step)
			if !found || s.State != test.state || !strings.Contains(s.Detail, test.says) {
				t.Errorf("%+v, want %s and %q", s, test.state, test.says)
			}
			if s.State == Refused && s.Try == "" {
				t.Error("it does not say what to do")
			}
		})
	}
}

func TestADifferenceShowsNoPassword(t *testing.T) {
	t.Parallel()
	is := "device_id = \"pi-01\"\n[auth]\nuser = \"u\"\npassword = \"\"\"\nold\nsecret\"\"\"\n[nats]\nurl = \"x\"\n"
	want := "device_id = \"pi-01\"\nauth = { user = \"u\", password = \"new secret\" }\n"
	got := configDiff("config.toml", []byte(is), []byte(want))
	if strings.Contains(got, "secret") || !strings.Contains(got, "hidden, another one") || !strings.Contains(got, `-url = "x"`) {
		t.Error(got)
	}
}

func TestTheProbeUnderstandsThisMachine(t *testing.T) {
	t.Parallel()
	f, err := Probe(t.Context(), machine.Local(machine.Nobody{}), nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if f.Kernel != "Linux" || f.Machine == "" || f.Hostname == "" || len(f.Disks) != 3 || f.ClockAhead != 0 {
		t.Errorf("%+v", f)
	}
	if _, err := Inspect(t.Context(), machine.Local(machine.Nobody{})); err != nil {
		t.Error(err)
	}
}

func TestAnAnswerThatIsCutIsTold(t *testing.T) {
	t.Parallel()
	text := newWorld().answer()
	for n := range len(text) - 1 {
		f, err := parseFacts([]byte(text[:n]), epoch, epoch)
		if err == nil && f.Systemd == "" && strings.Contains(text[:n], "systemd 11") && n > strings.Index(text, "systemd 252")+12 {
			t.Errorf("an answer of %d bytes is taken for whole: %+v", n, f)
		}
	}
	if _, err := parseFacts(nil, epoch, epoch); err == nil {
		t.Error("no answer is taken for one")
	}
}

func TestTheEndsOfKeysAreSpread(t *testing.T) {
	t.Parallel()
	for spread, want := range map[float64]int{0: 730 - 91, 0.5: 730, 1: 730 + 91} {
		if got := int(KeyEnd(epoch, spread).Sub(epoch) / (24 * time.Hour)); got != want {
			t.Errorf("spread %v: %d days, want %d", spread, got, want)
		}
	}
}

func TestADeviceLeaves(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		forget bool
		want   []string
	}{
		"its user is deactivated":         {false, []string{"decommission", "deactivate", "remove a", "remove b"}},
		"its user is deleted where asked": {true, []string{"decommission", "deactivate", "remove a", "remove b", "delete"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.known, w.user = true, User{Standing: UserOurs, Active: true, Keys: []UserKey{{ID: "a"}, {ID: "b"}}}
			d := Departure{ID: "pi-01", Fleet: theFleet{w}, Provider: func(context.Context) (Provider, error) { return theProvider{w}, nil }, Identity: true, Forget: test.forget}
			if _, err := d.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, w.log); diff != "" {
				t.Error("(-want +got)\n" + diff)
			}
		})
	}
}

func TestWhoseContainersAndVolumesAre(t *testing.T) {
	t.Parallel()
	container := func(id, name, device, service string) string {
		return fmt.Sprintf(`{"Id":%q,"Names":[%q],"Labels":{"io.nationtech.fleet.device":%q,"io.nationtech.fleet.deployment":"hello","io.nationtech.fleet.service":%q}}`, id, name, device, service)
	}
	said := map[string]string{
		"machine": "x86_64",
		"containers": "[" + strings.Join([]string{
			container("id-ours", "pi-01-hello-web", "pi-01", "web"), container("id-renamed", "mine", "pi-01", "web"),
			container("id-copy", "pi-01-hello-web-clone", "pi-01", "web"), container("id-committed", "pi-01-hello-db", "pi-01", "db"),
			container("id-other", "pi-02-hello-web", "pi-02", "web"),
		}, ",") + "]",
		"volumes": "pi-01-hello-data-" + digestOf("pi-01/hello/data") + "\npi-01-hello-data-000000\npi-01-my-app-my-data-" + digestOf("pi-01/my-app/my-data") + "\nother",
	}
	remains := func() Remains {
		text := probeMark + "\n"
		for _, k := range slices.Sorted(maps.Keys(said)) {
			text += fmt.Sprintf("%s %d\n%s\n", k, len(said[k]), said[k])
		}
		r, err := parseRemains([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		r.Judge("pi-01")
		return r
	}
	judged := func(r Remains) (all [2][]string) {
		for _, c := range r.Ours {
			all[0] = append(all[0], c.ID)
		}
		for _, c := range r.Foreign {
			all[1] = append(all[1], c.ID)
		}
		return all
	}
	r := remains()
	if diff := cmp.Diff([2][]string{{"id-ours", "id-committed"}, {"id-renamed", "id-copy"}}, judged(r)); diff != "" {
		t.Error("without the agent's record (-want +got)\n" + diff)
	}
	said["recorded"] = "id-ours id-renamed"
	if diff := cmp.Diff([2][]string{{"id-ours", "id-renamed"}, {"id-copy", "id-committed"}}, judged(remains())); diff != "" {
		t.Error("by the agent's record (-want +got)\n" + diff)
	}
	if got := r.Volumes("pi-01"); len(got) != 2 {
		t.Errorf("volumes %v", got)
	}
}

func digestOf(identity string) string {
	sum := sha256.Sum256([]byte(identity))
	return hex.EncodeToString(sum[:3])
}

func TestLabelsThatAnEnrolmentDoesNotNameStay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		if _, err := enrolmentIn(w, Shared).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.log = nil
		again := enrolmentIn(w, Shared)
		again.Wish.Labels = nil
		if out, err := again.Run(t.Context()); err != nil || len(out.Changed()) > 0 {
			t.Errorf("without labels: %v, changed %v", err, out.Changed())
		}
		again = enrolmentIn(w, Shared)
		again.Wish.Labels = map[string]string{"ring": "canary"}
		if _, err := again.Run(t.Context()); err != nil || !strings.Contains(w.files["/etc/fleet-agent/config.toml"], "site = 'lab'") {
			t.Errorf("with another label: %v\n%s", err, w.files["/etc/fleet-agent/config.toml"])
		}
		again = enrolmentIn(w, Shared)
		again.Wish.Labels, again.Wish.DropLabels = nil, true
		if _, err := again.Run(t.Context()); err != nil || strings.Contains(w.files["/etc/fleet-agent/config.toml"], "site = ") {
			t.Errorf("where they are dropped: %v\n%s", err, w.files["/etc/fleet-agent/config.toml"])
		}
	})
}

// Guarantee: where the fleet is not asked, no key goes that another machine may use.
func TestWhereTheFleetIsNotAskedNoKeyGoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.user = User{Standing: UserOurs, Active: true, JWT: true, Keys: []UserKey{{ID: "a"}}}
		e := enrolmentIn(w, Zitadel)
		e.Fleet, e.Wish.Replace, e.Now = nil, true, time.Now
		w.probe["date"] = fmt.Sprint(time.Now().Unix())
		if _, err := e.Run(t.Context()); err != nil || len(w.user.Keys) != 2 {
			t.Errorf("%v, keys %v", err, w.user.Keys)
		}
	})
}
