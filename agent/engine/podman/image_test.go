package podman_test

import (
	"testing"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/engine/podmantest"
	"fleet.nationtech.io/agent/sampleimage"
	"fleet.nationtech.io/eventlog/score"
)

// An image is found on the device by each of its names, so that none is pulled
// that is there.
func TestAnImageIsNamedByTagDigestOrBoth(t *testing.T) {
	t.Parallel()
	s := start(t, podmantest.Options{})
	e := s.engine(t, "pi-01")
	digest := s.CLI("image", "inspect", "-f", "{{.Digest}}", image)
	for name, reference := range map[string]string{
		"by-tag":    image,
		"by-digest": sampleimage.Repository + "@" + digest,
		"by-both":   image + "@" + digest,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := web(t, "pi-01", `"image":"`+reference+`"`)
			spec.Deployment = name
			if err := e.Pull(t.Context(), reference, score.PullIfNotPresent, nil); err != nil {
				t.Fatal(err)
			}
			c := run(t, e, spec)
			if c.State != engine.StateRunning || c.ImageDigest != digest {
				t.Errorf("it is %s of %s, want running of %s", c.State, c.ImageDigest, digest)
			}
		})
	}
}
