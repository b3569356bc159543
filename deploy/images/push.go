package images

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"fleet.nationtech.io/eventlog/version"
)

// Registry is how a registry is reached. Its zero value reaches those of public CAs, with
// the credentials that docker login or podman login left.
type Registry struct {
	CAFile   string           // PEM file of a CA that is trusted too
	Plain    bool             // without TLS; registries on localhost are always asked so too
	Keychain authn.Keychain   // nil: authn.DefaultKeychain
	Pushed   func(ref string) // told of each image that the registry has; may be nil
}

// Push puts the set into a registry below repository, with what is attached to the
// images. What the registry has already is not sent again.
func (s Set) Push(ctx context.Context, repository string, r Registry) ([]Named, error) {
	if err := CheckRepository(repository); err != nil {
		return nil, err
	}
	if repository == LocalRepository || strings.HasPrefix(repository, LocalRepository+"/") {
		return nil, fmt.Errorf("%s is no registry, but the name of images that no registry has: give REGISTRY/PREFIX", repository)
	}
	options, err := r.Remote(ctx)
	if err != nil {
		return nil, err
	}
	pusher, err := remote.NewPusher(options...)
	if err != nil {
		return nil, err
	}
	var done []Named
	for _, image := range s.sorted() {
		tag, err := name.NewTag(image.Reference(repository), r.Names()...)
		if err != nil {
			return done, fmt.Errorf("push: %w", err)
		}
		named, err := image.At(repository)
		if err != nil {
			return done, fmt.Errorf("push: %w", err)
		}
		if err := pusher.Push(ctx, tag, image.Index); err != nil {
			return done, fmt.Errorf("push %s: %w", tag, Explain(err))
		}
		for _, a := range image.Attached {
			d, err := a.Digest()
			if err != nil {
				return done, fmt.Errorf("push %s: %w", tag, err)
			}
			if err := pusher.Push(ctx, tag.Context().Digest(d.String()), a); err != nil {
				return done, fmt.Errorf("push what is attached to %s: %w", tag, Explain(err))
			}
		}
		done = append(done, named)
		if r.Pushed != nil {
			r.Pushed(tag.String())
		}
	}
	return done, nil
}

// Names are the options by which names in this registry are read.
func (r Registry) Names() []name.Option {
	options := []name.Option{name.StrictValidation}
	if r.Plain {
		options = append(options, name.Insecure)
	}
	return options
}

// Remote are the options by which this registry is asked.
func (r Registry) Remote(ctx context.Context) ([]remote.Option, error) {
	keychain := r.Keychain
	if keychain == nil {
		keychain = authn.DefaultKeychain
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(keychain), remote.WithUserAgent("fleetctl/" + version.Version)}
	if r.CAFile == "" {
		return options, nil
	}
	text, err := os.ReadFile(r.CAFile)
	if err != nil {
		return nil, fmt.Errorf("CA of the registry: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("CA of the registry: %s has no certificate in PEM", r.CAFile)
	}
	base, ok := remote.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("CA of the registry: the HTTP client takes none")
	}
	trusting := base.Clone()
	trusting.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return append(options, remote.WithTransport(trusting)), nil
}

// Explain says of a registry's error what to do, where it is known.
func Explain(err error) error {
	var unknownCA x509.UnknownAuthorityError
	var answer *transport.Error
	switch {
	case errors.As(err, &unknownCA):
		return fmt.Errorf("the registry's certificate is of a CA that is not trusted here; give its CA: %w", err)
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		return fmt.Errorf("the registry refuses these credentials; log in by docker login or podman login: %w", err)
	}
	return err
}
