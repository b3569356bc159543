package clustertest

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"text/template"
)

//go:embed node
var files embed.FS

// furnish writes the node's scripts, configuration and keys into its state.
func (n *Node) furnish() error {
	for _, dir := range []string{"lib", "log", "keys", "etc/cni", "etc/certs.d"} {
		if err := os.MkdirAll(filepath.Join(n.state, dir), 0o755); err != nil {
			return err
		}
	}
	values := struct{ Node, State, Address string }{n.Name, n.state, n.Address.String()}
	for source, target := range map[string]string{
		"launch.sh": "launch.sh", "node.sh": "node.sh",
		"containerd.toml": "etc/containerd.toml", "kubelet.yaml": "etc/kubelet.yaml", "proxy.yaml": "etc/proxy.yaml",
		"Corefile": "etc/Corefile", "bridge.conflist": "etc/cni/10-bridge.conflist",
	} {
		content, err := files.ReadFile("node/" + source)
		if err != nil {
			return err
		}
		if filepath.Dir(target) == "etc" {
			t, err := template.New(source).Parse(string(content))
			if err != nil {
				return err
			}
			var filled bytes.Buffer
			if err := t.Execute(&filled, values); err != nil {
				return err
			}
			content = filled.Bytes()
		}
		if err := os.WriteFile(filepath.Join(n.state, target), content, 0o600); err != nil {
			return err
		}
	}
	return errors.Join(
		os.WriteFile(filepath.Join(n.state, "etc/resolv.conf"), fmt.Appendf(nil, "nameserver %s\n", n.Address), 0o644),
		os.WriteFile(filepath.Join(n.state, "etc/hosts"), nil, 0o644),
		n.writeKeys(filepath.Join(n.state, "keys")),
	)
}

// SetHosts gives names to addresses outside the cluster, for its pods. It replaces the
// names that were given before; pods know the new ones within 6 seconds.
func (n *Node) SetHosts(hosts map[string]netip.Addr) error {
	var text []byte
	for name, address := range hosts {
		text = fmt.Appendf(text, "%s %s\n", address, name)
	}
	return os.WriteFile(filepath.Join(n.state, "etc/hosts"), text, 0o644)
}

// Registry has the node pull from a registry that speaks plain HTTP at an address of this
// machine.
func (n *Node) Registry(at netip.AddrPort) error {
	dir := filepath.Join(n.state, "etc/certs.d", at.String())
	text := fmt.Appendf(nil, "[host.%q]\ncapabilities = [\"pull\", \"resolve\"]\n", "http://"+at.String())
	return errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "hosts.toml"), text, 0o644))
}
