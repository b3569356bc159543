package sealer

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/nats-io/nkeys"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func public(t *testing.T, key nkeys.KeyPair, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	p, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestReplicasThatMakeTheSecretAtOnceHaveOneKey(t *testing.T) {
	t.Parallel()
	client := fake.NewClientset()
	keys := make([]string, 8)
	var replicas sync.WaitGroup
	for i := range keys {
		replicas.Go(func() {
			key, err := KeyInSecret(t.Context(), client, "ns")
			keys[i] = public(t, key, err)
		})
	}
	replicas.Wait()
	for _, k := range keys {
		if k != keys[0] {
			t.Errorf("keys %q and %q", k, keys[0])
		}
	}
	secret, err := client.CoreV1().Secrets("ns").Get(t.Context(), SecretName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret.Data[SecretField] = []byte("nonsense")
	if _, err := client.CoreV1().Secrets("ns").Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := KeyInSecret(t.Context(), client, "ns"); err == nil {
		t.Error("nonsense is a key")
	}
}

func TestAFileKeepsItsKeyAndIsPrivate(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "seal.nk")
	if _, err := KeyFromFile(file); err == nil {
		t.Error("a key comes from nowhere")
	}
	made, err := KeyInFile(file)
	want := public(t, made, err)
	for name, read := range map[string]func(string) (nkeys.KeyPair, error){"made or read": KeyInFile, "read": KeyFromFile} {
		key, err := read(file)
		if got := public(t, key, err); got != want {
			t.Errorf("%s: key %s, want %s", name, got, want)
		}
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v", info.Mode())
	}
}

// Anyone who reads the file finds a whole key or none, also where its maker is killed.
func TestMakersOfTheFileAtOnceHaveOneKey(t *testing.T) {
	t.Parallel()
	for range 20 {
		file, keys := filepath.Join(t.TempDir(), "seal.nk"), make([]string, 8)
		var makers sync.WaitGroup
		for i := range keys {
			makers.Go(func() {
				key, err := KeyInFile(file)
				if err != nil {
					t.Error(err)
					return
				}
				keys[i], _ = key.PublicKey()
			})
		}
		makers.Wait()
		for _, k := range keys {
			if k != keys[0] {
				t.Errorf("keys %q and %q", k, keys[0])
			}
		}
		if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
			t.Errorf("left in the folder: %v (%v)", left, err)
		}
	}
}
