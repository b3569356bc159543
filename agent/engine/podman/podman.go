package podman

import (
	"github.com/containers/podman/v5/pkg/bindings"
	"github.com/containers/podman/v5/pkg/bindings/containers"
	"github.com/containers/podman/v5/pkg/bindings/images"
	"github.com/containers/podman/v5/pkg/bindings/system"
	"github.com/containers/podman/v5/pkg/bindings/volumes"
	"github.com/containers/podman/v5/pkg/errorhandling"
	"github.com/containers/podman/v5/pkg/specgen"
)

var (
	_ = bindings.NewConnection
	_ = containers.List
	_ = images.Pull
	_ = system.Events
	_ = volumes.List
	_ errorhandling.ErrorModel
	_ specgen.SpecGenerator
)
