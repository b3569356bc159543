package enroll

import (
	"context"
	"fmt"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/deploy/enroll/machine"
	"fleet.nationtech.io/deploy/enroll/unit"
)

// work is what a plan's actions share.
type work struct {
	*Enrolment
	facts Facts
	known Known
	plan  Plan

	keyID  string // of the key that this enrolment made
	before string // systemd's id of the agent's run that is to end
}

// run runs a script that has to end with zero.
func (w *work) run(ctx context.Context, doing, script string, args ...string) (machine.Result, error) {
	r, err := w.Machine.Run(ctx, machine.Command{Script: script, Args: args})
	if err == nil {
		err = r.Check(doing)
	}
	return r, err
}

func (w *work) socket(ctx context.Context) (string, error) {
	_, err := w.run(ctx, "enable podman.socket", "systemctl enable --now podman.socket")
	return "", err
}

func (w *work) user(ctx context.Context) (string, error) {
	return "", w.Provider.EnsureDevice(ctx, w.Wish.ID, "edge device")
}

func (w *work) directory(ctx context.Context) (string, error) {
	_, err := w.run(ctx, "make "+configDir, `mkdir -p "$1" && chown 0:0 "$1" && chmod 0700 "$1"`, configDir)
	return "", err
}

// owe notes on the device that the agent has to be restarted, so that an enrolment that
// goes on knows it. A reboot restarts the agent, and forgets the note.
func (w *work) owe(ctx context.Context) error {
	_, err := w.run(ctx, "note that the agent must be restarted", `: >"$1"`, restartOwed)
	return err
}

func (w *work) file(f machine.File) action {
	return func(ctx context.Context) (string, error) {
		if err := w.owe(ctx); err != nil {
			return "", err
		}
		return "", w.Machine.WriteFile(ctx, f)
	}
}

func (w *work) binary(ctx context.Context) (string, error) {
	write := w.file(machine.File{Path: unit.AgentPath, Mode: 0o755, Content: w.known.Binary.Content})
	if _, err := write(ctx); err != nil {
		return "", err
	}
	r, err := w.run(ctx, "run the agent on the device", `"$1" --version`, unit.AgentPath)
	if err != nil {
		return "", err
	}
	version := machine.FirstLine(r.Stdout) // the next line has the commit
	if was := w.facts.AgentVersion; was != "" {
		return fmt.Sprintf("version %s, sha256 %.12s; it was version %s", version, w.known.Binary.Sum, was), nil
	}
	return fmt.Sprintf("version %s, sha256 %.12s", version, w.known.Binary.Sum), nil
}

func (w *work) config(ctx context.Context) (string, error) {
	content, err := w.Wish.configFile()
	if err != nil {
		return "", err
	}
	return w.file(machine.File{Path: config.DefaultPath, Mode: 0o600, Content: content})(ctx)
}
