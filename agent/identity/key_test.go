package identity

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/eventlog/testlog"
)

// replaceKey writes a key file of another id and end.
func replaceKey(t *testing.T, path, id string, ends time.Time) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	file["keyId"], file["expirationDate"] = id, ends
	if text, err = json.Marshal(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.TrimSpace(text), 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if err := os.Chtimes(path, now, now); err != nil {
		t.Fatal(err)
	}
}

// A key's end is told 30 days before, once a day, and after it by a sentence of its own.
func TestAKeysEndIsToldBeforeAndAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		private()
		const day = 24 * time.Hour
		var log testlog.Buffer
		var ends time.Time
		k, _ := tokens(t, time.Hour, &log, func(int) (openid.Grant, error) {
			if !ends.IsZero() && !time.Now().Before(ends) {
				return openid.Grant{}, &openid.Refusal{Status: 400, Code: "invalid_grant"}
			}
			return openid.Grant{Token: signedFor("3012"), Life: 12 * time.Hour}, nil
		})
		synctest.Wait()
		if got := k.KeyEnds(); !got.IsZero() {
			t.Errorf("a key whose file does not say ends at %s", got)
		}
		ends = time.Now().Add(31 * day)
		replaceKey(t, k.keyFile, "2", ends)
		k.Renew()
		synctest.Wait()
		if got := k.KeyEnds(); !got.Equal(ends) || testutil.ToFloat64(k.metrics.keyEnds) != float64(ends.Unix()) {
			t.Errorf("it ends at %s (metric %v), want %s", got, testutil.ToFloat64(k.metrics.keyEnds), ends)
		}
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		if strings.Contains(log.String(), "ends soon") {
			t.Errorf("more than 30 days before: %s", log.String())
		}
		time.Sleep(10 * day)
		synctest.Wait()
		if n := strings.Count(log.String(), "the device's key ends soon"); n < 8 || n > 10 {
			t.Errorf("within ten days it is told %d times", n)
		}
		time.Sleep(25 * day)
		synctest.Wait()
		if want := "key 2 ended at " + ends.UTC().Format(time.RFC3339); !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	})
}

func TestAnotherKeyIsUsedAtOnceAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		private()
		k, d := tokens(t, time.Hour, nil, func(int) (openid.Grant, error) {
			return openid.Grant{Token: signedFor("3012"), Life: 12 * time.Hour}, nil
		})
		synctest.Wait()
		<-k.KeyChanged() // the first one
		<-k.Changed()
		time.Sleep(time.Minute)
		k.Renew() // the same key
		synctest.Wait()
		<-k.Changed()
		select {
		case <-k.KeyChanged():
			t.Error("the same key is told as another")
		default:
		}
		replaceKey(t, k.keyFile, "2", time.Now().Add(time.Hour))
		k.Renew()
		synctest.Wait()
		<-k.KeyChanged()
		<-k.Changed()
		if p, err := k.Show(); err != nil || p.Number != 3 || d.seconds() != "0 60 60" {
			t.Errorf("proof %d (%v), asked after seconds %s", p.Number, err, d.seconds())
		}
	})
}
