package provider_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/devprovider/devprovidertest"
	"fleet.nationtech.io/deploy/install/provider"
	"fleet.nationtech.io/deploy/zitadel/setup"
)

func (w *world) install() (provider.Result, error) {
	return provider.Install(w.t.Context(), w.options)
}

func (w *world) mustInstall() provider.Result {
	w.t.Helper()
	result, err := w.install()
	if err != nil {
		w.t.Fatal(err)
	}
	return result
}

func (w *world) mustFail(sentence, remedy string) {
	w.t.Helper()
	_, err := w.install()
	var failed *provider.FailedError
	if !errors.As(err, &failed) || !strings.Contains(failed.Error(), sentence) || !strings.Contains(failed.Remedy, remedy) {
		w.t.Fatalf("got %+v, want %q and the remedy %q", err, sentence, remedy)
	}
}

func TestTheProviderIsInstalledInOrderAndTheFirstKeyIsForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withDatabase(true)
	result := w.mustInstall()
	ran := w.ran()
	if len(ran) != 4 || ran[0] != "zitadel-init" || ran[1] != "zitadel-setup" {
		t.Errorf("it ran %v, want the database first, then the instance, then the pods", ran)
	}
	if !result.FirstPassword {
		t.Error("the first person's password is not told")
	}
	masterkey := w.value("fleet-zitadel-masterkey", "masterkey")
	if len(masterkey) != 32 {
		t.Errorf("the masterkey has %d bytes, and Zitadel wants 32", len(masterkey))
	}
	if result.Made == nil || result.Made.Project == "" {
		t.Fatalf("nothing was made at the provider: %+v", result)
	}
	saved, key, err := setup.Load(w.options.Keys)
	if err != nil || saved.Issuer != w.provider.Issuer() || saved.Project != result.Made.Project || len(key) == 0 {
		t.Errorf("kept for fleetctl install: %+v, %v", saved, err)
	}
	if w.value(provider.SetupAccount, provider.SetupAccount+".json") != nil {
		t.Error("the key with all rights is in the cluster still")
	}

	// Again: nothing changes, and nothing runs.
	if again := w.mustInstall(); again.Changed != 0 || again.Made != nil {
		t.Errorf("a second run: %+v", again)
	}
	if now := w.ran(); len(now) != len(ran) {
		t.Errorf("a second run ran %v", now[len(ran):])
	}

	// A newer chart: its Jobs run again, and what was made once stays.
	w.options.Chart = newerChart(t, "9.35.0")
	if newer := w.mustInstall(); newer.Changed == 0 {
		t.Error("a newer chart changed nothing")
	}
	if now := w.ran(); !slices.Equal(now[len(ran):len(ran)+2], []string{"zitadel-init", "zitadel-setup"}) {
		t.Errorf("a newer chart ran %v", now[len(ran):])
	}
	if diff := cmp.Diff(masterkey, w.value("fleet-zitadel-masterkey", "masterkey")); diff != "" {
		t.Error("the masterkey was overwritten")
	}
	w.options.Chart = "testdata/zitadel"
	w.mustRefuse("Chart 9.35.0 is installed, and 9.34.0 is older")
}

func TestADatabaseThatMovedIsReadByThePods(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withDatabase(true)
	w.mustInstall()
	before := w.ran()
	secrets := w.client.CoreV1().Secrets(w.options.Namespace)
	s, err := secrets.Get(t.Context(), "database", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Data["dsn"] = []byte("postgresql://zitadel:another-word@postgres:5432/zitadel")
	if _, err := secrets.Update(t.Context(), s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.mustInstall()
	if diff := cmp.Diff(slices.Sorted(slices.Values(before)), slices.Sorted(slices.Values(w.ran()[len(before):]))); diff != "" {
		t.Errorf("what ran (-first time +second time):\n%s", diff)
	}
}

func TestTheFirstKeyIsTakenByTheProviderNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withDatabase(true)
	w.options.KeepKey = true
	w.mustInstall()
	key := w.value(provider.SetupAccount, provider.SetupAccount+".json")
	if key == nil {
		t.Fatal("the key was to be kept")
	}
	w.options.KeepKey = false
	w.mustInstall()
	w.secret(provider.SetupAccount, provider.SetupAccount+".json", string(key))
	w.mustInstall() // a key that the provider removed goes from the cluster, too
	if w.value(provider.SetupAccount, provider.SetupAccount+".json") != nil {
		t.Error("the key is in the cluster still")
	}
}

func TestADatabaseThatIsLeftOverIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withDatabase(true)
	w.set(func(w *world) { w.leftOver = true })
	w.mustFail("this database already has an instance", "drop the database")
	mine := w.newKey()
	w.secret(provider.SetupAccount, provider.SetupAccount+".json", string(mine))
	if result := w.mustInstall(); result.Made == nil {
		t.Error("with the key of an account nothing was made")
	} else if result.FirstPassword {
		t.Error("the database had its persons before, and a password of ours is told")
	}
	w.keeps(mine)
	w.mustInstall()
	w.keeps(mine)
}

func TestADatabaseThatIsMadeEmptyGetsAnInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withDatabase(true)
	w.set(func(w *world) { w.leftOver = true })
	w.mustFail("this database already has an instance", "drop the database")
	w.set(func(w *world) { w.leftOver = false })
	w.mustInstall()
	if w.value(provider.SetupAccount, keyName) != nil {
		t.Error("the setup's key is in the cluster still")
	}
}

func TestAKeyOfAnotherDatabaseIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withDatabase(true)
	w.set(func(w *world) { w.leftOver = true })
	other := devprovidertest.Start(t, devprovider.Options{})
	other.AddOrganization(devprovider.Organization{ID: "1000", Name: "Other"})
	if _, err := other.AddUser(devprovider.User{ID: account, Organization: "1000", Machine: true}); err != nil {
		t.Fatal(err)
	}
	text, err := other.AddKey(account, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	w.secret(provider.SetupAccount, provider.SetupAccount+".json", string(text))
	w.options.Settle = time.Millisecond
	w.mustFail("does not take the key in Secret fleet-setup", "kubectl -n "+w.options.Namespace+" delete secret fleet-setup")
	if entries, err := os.ReadDir(filepath.Dir(w.options.Keys)); err != nil || len(entries) > 0 {
		t.Errorf("files were made: %v, %v", entries, err)
	}
}

func TestAJobThatFailsIsToldAndRunAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withDatabase(true)
	w.set(func(w *world) {
		w.wrong = "connecting\nfailed SASL auth: password authentication failed for user \"zitadel\"\n"
	})
	w.mustFail(`password authentication failed for user "zitadel"`, "Correct the user and the password")
	w.mustInstall()
	if ran := w.ran(); len(ran) != 5 || !slices.Equal(ran[:3], []string{"zitadel-init", "zitadel-init", "zitadel-setup"}) {
		t.Errorf("it ran %v", ran)
	}
}

func TestADryRunOfTheProviderChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withDatabase(true)
	w.options.DryRun = true
	if result := w.mustInstall(); result.Changed == 0 {
		t.Error("a dry run says that nothing would change")
	}
	if w.value("fleet-zitadel-masterkey", "masterkey") != nil || len(w.ran()) > 0 {
		t.Errorf("a dry run left something: %v", w.ran())
	}
}
