package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/pflag"
)

// Options is what the command line says.
type Options struct {
	// DataDir holds everything that outlives the process; absolute after parsing.
	DataDir string
	// Kubeconfig is written when the server is ready and removed when it ends,
	// so that its presence means ready.
	Kubeconfig string
	// Port of the API on 127.0.0.1; 0 takes the remembered one or a free one.
	Port int
	// ExitWithStdin ends the process when its parent, who holds the other end of
	// stdin, is gone for whatever reason.
	ExitWithStdin bool
	// NoFsync trades durability over a power cut for speed; for tests.
	NoFsync bool
	// Verbosity is klog's; 0 shows warnings and errors only.
	Verbosity int
}

// errUsage marks errors of the command line; the process exits with 2.
var errUsage = errors.New("usage")

// parseOptions reads args. It returns pflag.ErrHelp after printing the usage to out.
func parseOptions(args []string, out io.Writer) (Options, error) {
	var o Options
	flags := pflag.NewFlagSet("kubeapi", pflag.ContinueOnError)
	flags.SetOutput(out)
	flags.SortFlags = false
	flags.StringVar(&o.DataDir, "data-dir", "", "directory of the server's data, made if absent (required)")
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "file to write once the server is ready (default DATA-DIR/kubeconfig)")
	flags.IntVar(&o.Port, "port", 0, "port on 127.0.0.1; 0 takes a free one and keeps to it over restarts while it is free")
	flags.BoolVar(&o.ExitWithStdin, "exit-with-stdin", false, "exit at once when stdin ends, so that no parent leaves an orphan")
	flags.BoolVar(&o.NoFsync, "no-fsync", false, "do not wait for the disk: faster, and lost with the machine (for tests)")
	flags.IntVarP(&o.Verbosity, "v", "v", 0, "log verbosity; 0 logs warnings and errors only, all to stderr")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return o, pflag.ErrHelp
		}
		return o, fmt.Errorf("%w: %w; kubeapi --help lists the flags", errUsage, err)
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%w: unexpected argument %q; kubeapi takes flags only", errUsage, flags.Arg(0))
	}
	if o.DataDir == "" {
		return o, fmt.Errorf("%w: --data-dir is required", errUsage)
	}
	if o.Port < 0 || o.Port > 65535 {
		return o, fmt.Errorf("%w: --port %d is not between 0 and 65535", errUsage, o.Port)
	}
	if o.Verbosity < 0 {
		return o, fmt.Errorf("%w: -v %d is negative", errUsage, o.Verbosity)
	}
	dir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return o, fmt.Errorf("resolve data directory %s: %w", o.DataDir, err)
	}
	o.DataDir = dir
	if o.Kubeconfig == "" {
		o.Kubeconfig = filepath.Join(dir, "kubeconfig")
	}
	if o.Kubeconfig, err = filepath.Abs(o.Kubeconfig); err != nil {
		return o, fmt.Errorf("resolve kubeconfig %s: %w", o.Kubeconfig, err)
	}
	return o, nil
}
