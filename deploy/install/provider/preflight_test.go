package provider_test

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/deploy/install/cluster"
	"fleet.nationtech.io/deploy/install/provider"
)

// mustRefuse checks that preflight refuses by a sentence, says what to do, and shows no
// password.
func (w *world) mustRefuse(sentence string) {
	w.t.Helper()
	_, err := w.install()
	var refused *provider.RefusedError
	if !errors.As(err, &refused) {
		w.t.Fatalf("got %v, want it refused", err)
	}
	said := ""
	for _, f := range refused.Findings {
		said += f.Sentence + " "
		if f.Remedy == "" {
			w.t.Errorf("%q does not say what to do", f.Sentence)
		}
		if strings.Contains(f.Sentence+f.Remedy, "secret-word") {
			w.t.Errorf("%q shows the password", f.Sentence)
		}
	}
	if !strings.Contains(said, sentence) {
		w.t.Errorf("it is refused by %q, want %q", said, sentence)
	}
}

func TestPreflightOfTheProviderSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	dsn := func(w *world, text string) { w.secret("database", "dsn", text) }
	tests := map[string]struct {
		world func(*testing.T, *world)
		says  string
	}{
		"no Secret of the database": {func(*testing.T, *world) {}, "has no key dsn with its connection string"},
		"a connection string that is none": {func(_ *testing.T, w *world) {
			dsn(w, "postgresql://zitadel:secret-word#1@postgres:5432/zitadel")
		}, "Key dsn of Secret database cannot be used"},
		"a URL with a line break": {func(_ *testing.T, w *world) {
			dsn(w, "postgresql://zitadel:secret-word@postgres:5432/zitadel\n")
		}, "it has a line break"},
		"no words":                   {func(_ *testing.T, w *world) { dsn(w, "secret-word") }, "it is neither a URL nor words"},
		"no database named":          {func(_ *testing.T, w *world) { dsn(w, "host=postgres user=zitadel password=secret-word") }, "it must name the host and the database"},
		"no Service":                 {func(_ *testing.T, w *world) { dsn(w, "host=postgres dbname=zitadel") }, "has no Service postgres"},
		"a Service of another place": {func(_ *testing.T, w *world) { dsn(w, "host=db.data.svc.cluster.local dbname=zitadel") }, "namespace data has no Service db"},
		"no pod of the database":     {func(_ *testing.T, w *world) { w.withDatabase(false) }, "No pod of the database's Service"},
		"a database that speaks no TLS": {func(t *testing.T, w *world) {
			dsn(w, "host=127.0.0.1 dbname=zitadel sslmode=verify-full port="+answering(t, 'N'))
		}, "does not speak TLS"},
		"a host in a URL's query": {func(t *testing.T, w *world) {
			dsn(w, "postgresql://zitadel:secret-word@/zitadel?sslmode=verify-full&host=127.0.0.1&port="+answering(t, 'N'))
		}, "does not speak TLS"},
		"something else": {func(t *testing.T, w *world) { dsn(w, "host=127.0.0.1 dbname=zitadel port="+answering(t, 'H')) }, "is no Postgres"},
		"a release of Helm's": {func(_ *testing.T, w *world) {
			w.withDatabase(true)
			_, err := w.client.CoreV1().Secrets(w.options.Namespace).Create(w.t.Context(), &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Name: "sh.helm.release.v1.zitadel.v1", Labels: map[string]string{"owner": "helm", "name": "zitadel"}},
			}, metav1.CreateOptions{})
			if err != nil {
				w.t.Fatal(err)
			}
		}, "Helm has a release zitadel"},
		"no certificate": {func(_ *testing.T, w *world) { w.withDatabase(true).options.Wanted.TLSSecret = "auth-tls" }, "auth-tls, is not there"},
		"no such ingress class": {func(_ *testing.T, w *world) {
			w.withDatabase(true).options.Wanted.Issuer = "https://auth.example.com"
			w.options.Wanted.Values, w.options.Wanted.IngressClass = nil, "none-such"
		}, "ingress"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.world(t, w)
			w.mustRefuse(tt.says)
			if len(w.ran()) > 0 || w.value("fleet-zitadel-masterkey", "masterkey") != nil {
				t.Error("something was done before it was refused")
			}
		})
	}
}

// answering is the port of a server that answers each question by one byte.
func answering(t *testing.T, with byte) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var question [8]byte
			if _, err := c.Read(question[:]); err == nil {
				_, _ = c.Write([]byte{with}) // who asks may be gone
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestADatabaseThatIsNotReachedFromHereIsAWarning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.secret("database", "dsn", "host=127.0.0.1 dbname=zitadel port=1")
	w.mustInstall()
	for _, f := range w.found {
		if f.Level == cluster.Warn && strings.Contains(f.Sentence, "does not answer here") {
			return
		}
	}
	t.Errorf("found: %+v", w.found)
}

func TestAConnectionStringThatOnlyTheDriverReadsIsLeftToIt(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]string{
		"a quoted password":         "host=postgres dbname=zitadel password='secret word' sslmode=verify-full",
		"a password with an escape": `host=postgres dbname=zitadel password=secret\ word`,
		"spaces around the sign":    "host = postgres dbname = zitadel password = secret-word",
		"a URL of two servers":      "postgresql://zitadel:secret-word@one.example.com:5432,two.example.com:5433/zitadel?sslmode=verify-full",
		"two servers as words":      "host=one.example.com,two.example.com dbname=zitadel password=secret-word",
		"a socket":                  "host=/run/postgresql dbname=zitadel",
		"a socket in a URL's query": "postgresql:///zitadel?host=/run/postgresql",
		"a service of a file":       "service=zitadel servicefile=/etc/pg_service.conf",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.options.DryRun = true
			w.secret("database", "dsn", dsn)
			w.mustInstall()
			told := false
			for _, f := range w.found {
				told = told || f.Level == cluster.Warn && strings.Contains(f.Sentence, "is not looked at from here")
				if said := f.Sentence + f.Remedy; strings.Contains(said, "secret") && strings.Contains(said, "word") || strings.Contains(said, "example.com") {
					t.Errorf("%q", said)
				}
			}
			if !told {
				t.Errorf("found: %+v", w.found)
			}
		})
	}
}

func TestWhatIsMadeOnceAndGoneIsAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withDatabase(true)
	w.mustInstall()
	issuer := w.options.Wanted.Issuer
	w.options.Wanted.Issuer = "https://auth.example.com"
	w.mustRefuse("The provider is installed as " + issuer)
	w.options.Wanted.Issuer = issuer
	if err := w.client.CoreV1().Secrets(w.options.Namespace).Delete(t.Context(), "fleet-zitadel-masterkey", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.mustRefuse("Secret fleet-zitadel-masterkey is gone")
}

// The provider has the former password: another one in its place would be told in vain.
func TestAPasswordThatIsLostIsNotToldAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withDatabase(true)
	w.mustInstall()
	secrets := w.client.CoreV1().Secrets(w.options.Namespace)
	copied, err := secrets.Get(t.Context(), provider.ConfigSecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	remove := func() {
		t.Helper()
		if err := secrets.Delete(t.Context(), provider.ConfigSecret, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	remove()
	result := w.mustInstall()
	if result.FirstPassword {
		t.Error("a password that the provider does not know is told")
	}
	if !slices.ContainsFunc(w.found, func(f cluster.Finding) bool {
		return f.Level == cluster.Warn && strings.Contains(f.Sentence, "Secret fleet-zitadel-config is gone")
	}) {
		t.Errorf("found: %+v", w.found)
	}
	if text := w.value(provider.ConfigSecret, "config-yaml"); !strings.Contains(string(text), "not the provider's") {
		t.Error("the Secret does not say so")
	}
	if again := w.mustInstall(); again.FirstPassword {
		t.Error("once more, and the password is told")
	}
	remove()
	w.secret(provider.ConfigSecret, "config-yaml", string(copied.Data["config-yaml"]))
	if back := w.mustInstall(); !back.FirstPassword {
		t.Error("the Secret is back from its copy, and the password is not told")
	}
}
