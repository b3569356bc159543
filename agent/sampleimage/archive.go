// Package sampleimage puts the samples' image into a Podman's store without the
// internet: an image from scratch with one static binary in it.
package sampleimage

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime"
	"time"
)

// Repository is the name of the samples' image; Tags are its versions.
const Repository = "localhost/fleet-hello"

// Tags lists the versions that Load makes.
func Tags() []string { return []string{"1", "2"} }

// madeAt is the same for ever, so that the same binary is the same image.
var madeAt = time.Unix(0, 0).UTC()

// imageConfig is what of the OCI image configuration (image-spec 1.1, config.md)
// the image has.
type imageConfig struct {
	Architecture string          `json:"architecture"`
	OS           string          `json:"os"`
	Created      time.Time       `json:"created"`
	Config       containerConfig `json:"config"`
	RootFS       rootFS          `json:"rootfs"`
}

type containerConfig struct {
	Entrypoint   []string            `json:"Entrypoint"`
	Env          []string            `json:"Env"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// Archive makes a docker-archive of one version of the image, of a static binary. It
// gives the image's id.
func Archive(binary []byte, tag string) (file []byte, id string, err error) {
	layer, err := tarball(map[string]entry{"hello": {binary, 0o755}}, []string{"hello"})
	if err != nil {
		return nil, "", err
	}
	config, err := json.Marshal(imageConfig{
		Architecture: runtime.GOARCH, OS: "linux", Created: madeAt,
		Config: containerConfig{
			Entrypoint: []string{"/hello"}, Env: []string{"VERSION=" + tag}, ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		},
		RootFS: rootFS{Type: "layers", DiffIDs: []string{"sha256:" + digest(layer)}},
	})
	if err != nil {
		return nil, "", fmt.Errorf("image configuration: %w", err)
	}
	id = digest(config)
	manifest, err := json.Marshal([]map[string]any{{
		"Config": id + ".json", "RepoTags": []string{Repository + ":" + tag}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return nil, "", fmt.Errorf("image manifest: %w", err)
	}
	file, err = tarball(map[string]entry{
		id + ".json": {config, 0o644}, "layer.tar": {layer, 0o644}, "manifest.json": {manifest, 0o644},
	}, []string{id + ".json", "layer.tar", "manifest.json"})
	return file, id, err
}

type entry struct {
	content []byte
	mode    int64
}

func tarball(entries map[string]entry, order []string) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range order {
		e := entries[name]
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: e.mode, Size: int64(len(e.content)), ModTime: madeAt, Typeflag: tar.TypeReg}); err != nil {
			return nil, fmt.Errorf("image archive: %w", err)
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, fmt.Errorf("image archive: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("image archive: %w", err)
	}
	return b.Bytes(), nil
}

func digest(b []byte) string {
	d := sha256.Sum256(b)
	return hex.EncodeToString(d[:])
}
