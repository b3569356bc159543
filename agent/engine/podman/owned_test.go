package podman_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/engine/podmantest"
)

// named observes the container that has a name.
func named(t *testing.T, e engine.Engine, name string) engine.Container {
	t.Helper()
	cs, err := e.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(cs, func(c engine.Container) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no container is named %s", name)
	}
	return cs[i]
}

// A container has the labels of its image, and an image made by podman commit has
// those of its container: labels do not tell whose a container is.
func TestAContainerThatAPersonMadeFromTheFleetsIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := start(t, podmantest.Options{})
	e := s.engine(t, "pi-01")
	c := run(t, e, web(t, "pi-01", `"volumes":["data:/data"]`))
	s.CLI("commit", "-q", c.ID, "localhost/copy:1")
	s.CLI("run", "-d", "--name", "my-debug", "localhost/copy:1")
	s.CLI("container", "clone", c.ID, "my-clone")
	s.CLI("run", "-d", "--name", "my-own", "--label", engine.LabelDevice+"=pi-01", image)
	if c := observed(t, e, c.ID); c.Foreign != "" {
		t.Errorf("the fleet's own container is foreign: %s", c.Foreign)
	}
	for _, name := range []string{"my-debug", "my-clone", "my-own"} {
		mustBeLeftAlone(t, e, named(t, e, name))
	}
	// A person may even give it the name of a container that the fleet removed.
	if err := e.Remove(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	s.CLI("run", "-d", "--name", c.Name, "localhost/copy:1")
	mustBeLeftAlone(t, e, named(t, e, c.Name))
	_, err := e.Create(t.Context(), web(t, "pi-01", `"volumes":["data:/data"]`))
	mustBe(t, err, engine.ClassRetrySlowly, engine.ReasonNameTaken)
	for _, name := range []string{"my-debug", c.Name, "my-own"} {
		if got := s.CLI("inspect", "-f", "{{.State.Status}}", name); got != "running" {
			t.Errorf("%s is %s, want running", name, got)
		}
	}
}

func mustBeLeftAlone(t *testing.T, e engine.Engine, c engine.Container) {
	t.Helper()
	if c.Foreign == "" {
		t.Errorf("%s counts as the fleet's", c.Name)
	}
	mustBe(t, e.Start(t.Context(), c.ID), engine.ClassRetrySlowly, engine.ReasonForeignContainer)
	mustBe(t, e.Stop(t.Context(), c.ID), engine.ClassRetrySlowly, engine.ReasonForeignContainer)
	mustBe(t, e.Remove(t.Context(), c.ID), engine.ClassRetrySlowly, engine.ReasonForeignContainer)
	_, err := e.Exec(t.Context(), c.ID, []string{"/hello", "-check"})
	mustBe(t, err, engine.ClassRetrySlowly, engine.ReasonForeignContainer)
}

// The fleet's own containers stay its own: whatever a person names them, when the
// agent starts again, and by their name when its data directory is lost or an agent
// without records made them.
func TestTheFleetsContainersStayItsOwn(t *testing.T) {
	t.Parallel()
	s := start(t, podmantest.Options{})
	c := run(t, s.engine(t, "pi-01"), web(t, "pi-01", ""))
	mustBeOwn := func(when string) engine.Engine {
		t.Helper()
		e := s.engine(t, "pi-01")
		if c := observed(t, e, c.ID); c.Foreign != "" {
			t.Errorf("%s it is foreign: %s", when, c.Foreign)
		}
		return e
	}
	mustBeOwn("after a restart of the agent")
	if err := os.RemoveAll(s.data("pi-01")); err != nil {
		t.Fatal(err)
	}
	e := mustBeOwn("after the loss of the data directory")
	s.CLI("rename", c.ID, "renamed")
	if got := observed(t, e, c.ID); got.Foreign != "" || got.Name != "renamed" {
		t.Errorf("after it was renamed it is named %s, and foreign: %q", got.Name, got.Foreign)
	}
	e = mustBeOwn("renamed, and after a restart of the agent,")
	if err := e.Stop(t.Context(), c.ID); err != nil {
		t.Error(err)
	}
	if err := e.Remove(t.Context(), c.ID); err != nil {
		t.Error(err)
	}
	if left := strings.Fields(s.CLI("ps", "-a", "-q")); len(left) != 0 {
		t.Errorf("%d containers are left", len(left))
	}
	if _, err := e.Observe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(s.data("pi-01") + "/containers"); err != nil || len(files) != 0 {
		t.Errorf("records of containers that are gone: %v, %v", files, err)
	}
}
