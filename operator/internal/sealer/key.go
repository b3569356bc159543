package sealer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nkeys"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// SecretName is the Secret, in the operator's namespace, that keeps the key where
// no file does; SecretField is the seed in it.
const (
	SecretName  = "fleet-seal-key"
	SecretField = "seed"
)

// KeyFromFile reads the seed of an Ed25519 nkey.
func KeyFromFile(file string) (nkeys.KeyPair, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	key, err := keyOf(b)
	if err != nil {
		return nil, fmt.Errorf("seal key: %s: %w", file, err)
	}
	return key, nil
}

// KeyInFile reads the seed in a file, and makes one where there is no file. The
// file is whole from the beginning, whenever its maker is killed; of several makers
// the first counts.
func KeyInFile(file string) (nkeys.KeyPair, error) {
	key, err := KeyFromFile(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	seed, err := newSeed()
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*") // of mode 0600
	if err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	_, err = f.Write(append(seed, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		if err = os.Link(f.Name(), file); errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	if err = errors.Join(err, os.Remove(f.Name())); err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	return KeyFromFile(file)
}

// KeyInSecret reads the seed in the Secret, and makes one where there is none.
// Replicas that do so at once come to have the same.
func KeyInSecret(ctx context.Context, client kubernetes.Interface, namespace string) (nkeys.KeyPair, error) {
	secrets := client.CoreV1().Secrets(namespace)
	secret, err := secrets.Get(ctx, SecretName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		var seed []byte
		if seed, err = newSeed(); err != nil {
			return nil, err
		}
		secret, err = secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: SecretName, Namespace: namespace},
			Data:       map[string][]byte{SecretField: seed},
		}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			secret, err = secrets.Get(ctx, SecretName, metav1.GetOptions{})
		}
	}
	if err != nil {
		return nil, fmt.Errorf("seal key: Secret %s/%s: %w", namespace, SecretName, err)
	}
	key, err := keyOf(secret.Data[SecretField])
	if err != nil {
		return nil, fmt.Errorf("seal key: Secret %s/%s, field %s: %w", namespace, SecretName, SecretField, err)
	}
	return key, nil
}

func newSeed() ([]byte, error) {
	key, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	seed, err := key.Seed()
	if err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	return seed, nil
}

func keyOf(text []byte) (nkeys.KeyPair, error) {
	key, err := nkeys.FromSeed(bytes.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("not the seed of an nkey: %w", err)
	}
	return key, nil
}
