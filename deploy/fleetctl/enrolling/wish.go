package enrolling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/bundle"
	"fleet.nationtech.io/deploy/enroll"
	"fleet.nationtech.io/deploy/enroll/inventory"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/contexts"
	"fleet.nationtech.io/deploy/fleetctl/render"
)

// WishFlags are what a device should be.
type WishFlags struct {
	id     string
	labels map[string]string
	auth   string

	key, deviceUser, passwordFile        string
	url, caFile, agent, pkg, bundle      string
	plaintext, overwriteConfig, replaces bool
	overwriteKey, dropLabels             bool
}

// Bind adds the flags.
func (f *WishFlags) Bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.id, "id", "", "the device's id: an RFC 1123 label, unique in the fleet")
	flags.StringToStringVarP(&f.labels, "label", "l", nil, "labels of the device, such as site=lab; others that it has stay")
	flags.StringVar(&f.auth, "auth", string(enroll.Zitadel), "how the device proves who it is: "+strings.Join(enroll.Flavours(), ", "))
	flags.StringVar(&f.key, "key", "", "key file of the device's machine user, for --auth zitadel-jwt ({id} stands for the id)")
	flags.StringVar(&f.deviceUser, "device-user", "", "the device's user on NATS, for --auth shared (default device-ID)")
	flags.StringVar(&f.passwordFile, "device-password-file", "", "file with its password; without it the password is asked for ({id} stands for the id)")
	flags.StringVar(&f.url, "device-url", "", "NATS servers as the device reaches them (default the context's)")
	flags.StringVar(&f.caFile, "device-ca-file", "", "PEM file of the CAs that signed their certificates (default the context's)")
	flags.BoolVar(&f.plaintext, "device-plaintext", false, "let the device speak to servers over connections that are not encrypted")
	flags.StringVar(&f.agent, "agent", "", "the agent's binary, or a directory with "+enroll.BinaryName("ARCH")+" (default the directory of this program)")
	flags.StringVar(&f.pkg, "package", "", "the agent's deb or rpm, or a directory with such, for devices with dpkg or rpm; "+noPackage+" installs the binary (default the directory of this program)")
	flags.StringVar(&f.bundle, "bundle", "", "take the agent's binary out of this `file`, which fleetctl bundle create made")
	flags.BoolVar(&f.overwriteConfig, "overwrite-config", false, "replace a configuration that was changed by hand on the device")
	flags.BoolVar(&f.overwriteKey, "overwrite-key", false, "with --auth zitadel-jwt: replace a key of the same user on the device, which a rotation may have made")
	flags.BoolVar(&f.dropLabels, "drop-labels", false, "remove the labels that the device has and that are not given")
	flags.BoolVar(&f.replaces, "replace", false, "take the id from another machine that is alive under it")
}

// Host is the one device that the flags name, as one of an inventory.
func (f *WishFlags) Host() inventory.Host {
	return inventory.Host{ID: f.id, Labels: f.labels, Auth: f.auth, Key: f.key, DeviceUser: f.deviceUser, PasswordFile: f.passwordFile, URL: f.url}
}

// Fill completes a host of an inventory by the flags. Paths of the inventory are found
// from its directory.
func (f *WishFlags) Fill(h inventory.Host, dir string) inventory.Host {
	for _, path := range []*string{&h.Key, &h.PasswordFile} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
	byFlag := f.Host()
	for value, flag := range map[*string]string{
		&h.Auth: byFlag.Auth, &h.Key: byFlag.Key, &h.DeviceUser: byFlag.DeviceUser, &h.PasswordFile: byFlag.PasswordFile, &h.URL: byFlag.URL,
	} {
		if *value == "" {
			*value = flag
		}
	}
	labels := map[string]string{}
	for k, v := range f.labels {
		labels[k] = v
	}
	for k, v := range h.Labels {
		labels[k] = v
	}
	h.Labels = labels
	return h
}

// Binaries are the agents at hand, until done is called.
func (f *WishFlags) Binaries(ctx context.Context, s cli.Streams) (at *enroll.Binaries, done func(), err error) {
	if f.bundle != "" {
		return f.bundled(ctx, s)
	}
	place := f.agent
	if place == "" {
		place = beside()
	}
	return &enroll.Binaries{Place: place}, func() {}, nil
}

// bundled are the agents of a bundle.
func (f *WishFlags) bundled(ctx context.Context, s cli.Streams) (at *enroll.Binaries, done func(), err error) {
	if f.agent != "" {
		return nil, nil, cli.Misused(errors.New("--bundle and --agent both name the agent"), "one of the two")
	}
	p := render.NewProgress(s, "checking "+f.bundle)
	b, err := bundle.Open(ctx, f.bundle, p.Report)
	p.End()
	if err != nil {
		return nil, nil, cli.Failed(err, s.Program()+" bundle verify "+f.bundle)
	}
	return &enroll.Binaries{
		Place:   "the agent of " + f.bundle,
		Bundled: func(platform string) ([]byte, error) { return b.Program("fleet-agent", platform) },
	}, func() { _ = b.Close() }, nil
}

// noPackage is the value of --package by which the binary is installed.
const noPackage = "none"

// Packages are the agent's packages at hand; nil: none is installed. A binary that was
// named, or a bundle, is what to install, where no package was.
func (f *WishFlags) Packages() *enroll.Packages {
	switch {
	case f.pkg == noPackage, f.pkg == "" && (f.agent != "" || f.bundle != ""):
		return nil
	case f.pkg != "":
		return &enroll.Packages{Place: f.pkg}
	}
	if place := beside(); place != "" {
		return &enroll.Packages{Place: place}
	}
	return nil
}

// beside is the directory of this program.
func beside() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	if whole, err := filepath.EvalSymlinks(self); err == nil {
		self = whole
	}
	return filepath.Dir(self)
}

// Wish is what a host should be, in the fleet of a context. providerCA is the file of the
// provider's CAs, where it is not the context's. What is missing is asked
// for at the terminal, or said in a sentence.
func (f *WishFlags) Wish(ctx context.Context, h inventory.Host, c contexts.Context, providerCA string, terminal *Terminal) (enroll.Wish, error) {
	if h.ID == "" {
		return enroll.Wish{}, cli.Misused(errors.New("the device needs an id"), "--id pi-01")
	}
	w := enroll.Wish{ID: h.ID, Labels: h.Labels, OverwriteConfig: f.overwriteConfig, OverwriteKey: f.overwriteKey, DropLabels: f.dropLabels, Replace: f.replaces}
	w.NATS = enroll.Address{URL: h.URL, AllowPlaintext: f.plaintext}
	if w.NATS.URL == "" {
		w.NATS.URL = c.Servers()
	}
	if w.NATS.URL == "" {
		return w, cli.Misused(errors.New("it is not known where the device reaches NATS"), "--device-url wss://nats.example.org:443, or a context that has it (fleetctl context add)")
	}
	var err error
	if w.NATS.CA, err = readCA(f.caFile, c.CAFile); err != nil {
		return w, cli.Misused(err, "--device-ca-file FILE")
	}
	w.Auth.Flavour = enroll.Flavour(h.Auth)
	switch w.Auth.Flavour {
	case enroll.Shared:
		err = f.shared(ctx, &w, h, terminal)
	case enroll.ZitadelJWT:
		if w.Auth.Key, err = readKey(byID(h.Key, h.ID)); err == nil {
			err = f.provider(&w, c, providerCA)
		}
	case enroll.Zitadel:
		err = f.provider(&w, c, providerCA)
	}
	if err != nil {
		return w, err
	}
	if err := w.Check(); err != nil {
		return w, cli.Misused(err, "--help")
	}
	return w, nil
}

func byID(path, id string) string { return strings.ReplaceAll(path, "{id}", id) }

// readCA reads the file of a flag, else that of the context.
func readCA(flag, context string) ([]byte, error) {
	if flag == "" {
		flag = context
	}
	if flag == "" {
		return nil, nil
	}
	return os.ReadFile(flag)
}

func (f *WishFlags) shared(ctx context.Context, w *enroll.Wish, h inventory.Host, terminal *Terminal) error {
	if w.Auth.User = byID(h.DeviceUser, h.ID); w.Auth.User == "" {
		w.Auth.User = accounts.DeviceUser(h.ID)
	}
	if h.PasswordFile != "" {
		text, err := os.ReadFile(byID(h.PasswordFile, h.ID))
		if err != nil {
			return cli.Misused(fmt.Errorf("the password of %s: %w", w.Auth.User, err), "--device-password-file FILE")
		}
		w.Auth.Password = strings.TrimRight(string(text), "\r\n")
		return nil
	}
	if terminal.Many {
		return cli.Misused(fmt.Errorf("the password of %s is not known", w.Auth.User), "password_file: in the inventory, or --device-password-file; {id} in it stands for the id")
	}
	var err error
	if w.Auth.Password, err = terminal.Read(ctx, "Password of "+w.Auth.User+" on NATS: "); err != nil {
		return cli.Misused(fmt.Errorf("the password of %s: %w", w.Auth.User, err), "--device-password-file FILE")
	}
	return nil
}

func (f *WishFlags) provider(w *enroll.Wish, c contexts.Context, ca string) error {
	w.Auth.Issuer, w.Auth.Project = c.Issuer, c.Project
	w.Auth.AllowPlaintext = f.plaintext
	switch {
	case c.Issuer == "":
		return cli.Misused(errors.New("the device's provider is not known"), "--issuer https://auth.example.org, or a context that has it; for a laboratory without a provider: --auth shared")
	case c.Project == "":
		return cli.Misused(errors.New("the fleet's project at the provider is not known"), "--project ID, or a context that has it")
	}
	var err error
	if w.Auth.CA, err = readCA(ca, c.CAFile); err != nil {
		return cli.Misused(err, "--provider-ca-file FILE")
	}
	return nil
}

// readKey reads the names of a key file, and checks that it is one.
func readKey(file string) (enroll.Key, error) {
	if file == "" {
		return enroll.Key{}, cli.Misused(errors.New("auth zitadel-jwt needs the device's key file"), "--key FILE")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return enroll.Key{}, cli.Misused(err, "--key FILE")
	}
	var k struct {
		Type   string `json:"type"`
		KeyID  string `json:"keyId"`
		UserID string `json:"userId"`
	}
	// What the decoder quotes may be a part of the key.
	if json.Unmarshal(text, &k) != nil || k.Type != "serviceaccount" || k.KeyID == "" || k.UserID == "" {
		return enroll.Key{}, cli.Misused(fmt.Errorf("%s is not the key file of a machine user, as the provider exports it", file), "--key FILE")
	}
	return enroll.Key{Content: text, ID: k.KeyID, UserID: k.UserID}, nil
}
