package sampleimage

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/containers/podman/v5/pkg/bindings"
	"github.com/containers/podman/v5/pkg/bindings/images"
)

// Load puts every version of the samples' image into the store of the Podman
// behind socket (unix://…), made of a static binary. Versions that are there and
// the same are left alone.
func Load(ctx context.Context, socket, binary string) error {
	content, err := os.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("samples' image: %w", err)
	}
	conn, err := bindings.NewConnection(ctx, socket)
	if err != nil {
		return fmt.Errorf("samples' image: %w", err)
	}
	for _, tag := range Tags() {
		file, id, err := Archive(content, tag)
		if err != nil {
			return fmt.Errorf("samples' image %s:%s: %w", Repository, tag, err)
		}
		if have, err := images.GetImage(conn, Repository+":"+tag, nil); err == nil && have.ID == id {
			continue
		}
		if _, err := images.Load(conn, bytes.NewReader(file)); err != nil {
			return fmt.Errorf("load the samples' image %s:%s: %w", Repository, tag, err)
		}
	}
	return nil
}
