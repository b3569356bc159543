package provider_test

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/deploy/install/provider"
)

const keyName = provider.SetupAccount + ".json"

// keeps checks that a person's key is in its Secret and at the provider still.
func (w *world) keeps(key []byte) {
	w.t.Helper()
	if !bytes.Equal(w.value(provider.SetupAccount, keyName), key) {
		w.t.Error("a person's key is not in its Secret any more")
	}
	if !w.provider.HasKey(keyID(w.t, key), account) {
		w.t.Error("a person's key was removed at the provider")
	}
}

func keyID(t *testing.T, key []byte) string {
	t.Helper()
	var file struct{ KeyID string }
	if err := json.Unmarshal(key, &file); err != nil || file.KeyID == "" {
		t.Fatalf("a key without an id: %v", err)
	}
	return file.KeyID
}

// replaceKey puts another key into the Secret, as the remedy says.
func (w *world) replaceKey(key []byte) {
	w.t.Helper()
	if err := w.client.CoreV1().Secrets(w.options.Namespace).Delete(w.t.Context(), provider.SetupAccount, metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.secret(provider.SetupAccount, keyName, string(key))
}

func TestAPersonsKeyInPlaceOfTheSetupsStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withDatabase(true)
	w.options.KeepKey = true
	w.mustInstall()
	mine := w.newKey()
	w.replaceKey(mine)
	w.options.KeepKey = false
	w.mustInstall()
	w.keeps(mine)
}

func TestTheSetupsKeyIsRemovedAfterARunThatWasCutOff(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"zitadel-setup", "objects"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).withDatabase(true)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			options := w.options
			options.Tell = func(p provider.Progress) {
				if p.Step == step {
					cancel()
				}
			}
			if _, err := provider.Install(ctx, options); err == nil {
				t.Fatal("it was to be cut off")
			}
			w.eventually("the setup has written its key", func() bool { return w.value(provider.SetupAccount, keyName) != nil })
			key := w.value(provider.SetupAccount, keyName)
			w.mustInstall()
			if w.value(provider.SetupAccount, keyName) != nil || w.provider.HasKey(keyID(t, key), account) {
				t.Error("the key with all rights is there still")
			}
		})
	}
}

func TestAKeyThatCannotBeReadIsNotTriedAgainAndAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withDatabase(true)
	w.set(func(w *world) { w.leftOver = true })
	w.secret(provider.SetupAccount, keyName, "secret-word")
	w.options.Tell = func(p provider.Progress) {
		if p.Step == "provider" && p.Waiting {
			t.Errorf("it waits, which mends no key: %s", p.Sentence)
		}
	}
	w.mustFail("key fleet-setup.json of Secret fleet-setup cannot be read", "delete secret fleet-setup")
	mine := w.newKey()
	w.replaceKey(mine)
	w.mustInstall()
	w.keeps(mine)
}

func TestACAFileThatCannotBeReadIsToldBeforeAnythingIsChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withDatabase(true)
	w.options.CAFile = filepath.Join(t.TempDir(), "none.crt")
	if _, err := w.install(); err == nil || !strings.Contains(err.Error(), "none.crt") {
		t.Errorf("got %v", err)
	}
	if w.value("fleet-zitadel-masterkey", "masterkey") != nil {
		t.Error("something was changed")
	}
}

func (w *world) eventually(what string, is func() bool) {
	w.t.Helper()
	const atMost = time.Minute
	for end := time.Now().Add(atMost); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("not within %s: %s", atMost, what)
		}
	}
}
