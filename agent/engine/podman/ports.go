package podman

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"go.podman.io/common/libnetwork/types"

	"fleet.nationtech.io/eventlog/score"
)

// mappings writes a service's ports in Podman's terms. Podman chooses the free host
// ports, but takes two wishes for a free one of the same container port for one:
// those beyond the first are chosen here. A port that is taken until the container
// starts makes the start fail with PortInUse, and then another is chosen.
func mappings(ctx context.Context, s score.Service) (all []types.PortMapping, err error) {
	type wish struct {
		ip        string
		container uint16
		protocol  string
	}
	wishes := map[wish]bool{}
	named := map[uint16]bool{}
	for _, port := range s.Ports {
		named[port.Host] = true
	}
	var held []io.Closer // until all are chosen, so that none is chosen twice
	defer func() {
		for _, h := range held {
			err = errors.Join(err, h.Close())
		}
	}()
	for _, port := range s.Ports {
		m := types.PortMapping{HostIP: port.IP, HostPort: port.Host, ContainerPort: port.Container, Protocol: port.Protocol}
		w := wish{port.IP, port.Container, port.Protocol}
		if port.Host == 0 && wishes[w] {
			for m.HostPort == 0 || named[m.HostPort] {
				number, holder, err := freePort(ctx, port)
				if err != nil {
					return nil, fmt.Errorf("find a free host port for container port %s: %w", port, err)
				}
				m.HostPort, held = number, append(held, holder)
			}
		}
		wishes[w] = wishes[w] || port.Host == 0
		all = append(all, m)
	}
	return all, nil
}

// freePort takes a host port that nobody has, until its holder is closed.
func freePort(ctx context.Context, p score.Port) (uint16, io.Closer, error) {
	address := net.JoinHostPort(p.IP, "0")
	var listen net.ListenConfig
	if p.Protocol == "udp" {
		c, err := listen.ListenPacket(ctx, "udp", address)
		if err != nil {
			return 0, nil, err
		}
		return uint16(c.LocalAddr().(*net.UDPAddr).Port), c, nil
	}
	l, err := listen.Listen(ctx, "tcp", address)
	if err != nil {
		return 0, nil, err
	}
	return uint16(l.Addr().(*net.TCPAddr).Port), l, nil
}

func comparePublished(a, b published) int {
	return cmp.Or(cmp.Compare(a.container, b.container), cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.host, b.host), cmp.Compare(a.ip, b.ip))
}

func portNumber(text string) uint16 {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0 // none was given yet
	}
	return uint16(n)
}
