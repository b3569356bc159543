package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"strconv"
	"sync"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// keptLog is how much of what was not shown is kept, for a failure to show.
const keptLog = 64 << 10

// quietLog is where klog and etcd write at verbosity 0. At every start and every
// shutdown both warn of what is normal then (an API group without resources, a
// namespace not yet there, a closed listener); so between those two, when a
// warning means something, it is shown, and outside it is kept until the process
// fails and somebody wants to know why.
type quietLog struct {
	out io.Writer

	mu   sync.Mutex
	loud bool
	kept []byte
}

// setLoud shows from now on what is written, or keeps it from now on.
func (l *quietLog) setLoud(loud bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loud, l.kept = loud, nil
}

// Write takes one entry a call.
func (l *quietLog) Write(entry []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loud {
		return l.out.Write(entry)
	}
	l.kept = append(l.kept, entry...)
	if over := len(l.kept) - keptLog; over > 0 {
		l.kept = bytes.Clone(l.kept[over:])
	}
	return len(entry), nil
}

// showKept writes what was kept.
func (l *quietLog) showKept() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.out.Write(l.kept)
	l.kept = nil
	return err
}

// warningsOnly drops klog's entries of severity info, which begin with an I.
type warningsOnly struct{ next io.Writer }

func (w warningsOnly) Write(entry []byte) (int, error) {
	if bytes.HasPrefix(entry, []byte("I")) {
		return len(entry), nil
	}
	return w.next.Write(entry)
}

// configureLog sends klog, through which all of Kubernetes logs, to quiet at
// verbosity 0, and all of it to stderr above.
func configureLog(verbosity int, quiet *quietLog) error {
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	set := map[string]string{"v": strconv.Itoa(verbosity)}
	if verbosity == 0 {
		// klog writes to an output of ours only when it believes that to be a file.
		set["logtostderr"], set["one_output"], set["stderrthreshold"] = "false", "true", "FATAL"
		klog.SetOutput(warningsOnly{quiet})
	}
	for name, value := range set {
		if err := flags.Set(name, value); err != nil {
			return fmt.Errorf("set log flag %s: %w", name, err)
		}
	}
	// The server's own clients must not log the deprecation warnings that it sends itself.
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	return nil
}

// etcdLogger is the same for etcd.
func etcdLogger(verbosity int, quiet *quietLog) func(*embed.Config) error {
	level, out := zapcore.WarnLevel, io.Writer(quiet)
	switch {
	case verbosity >= 4:
		level = zapcore.DebugLevel
	case verbosity >= 2:
		level = zapcore.InfoLevel
	}
	if verbosity > 0 {
		out = quiet.out
	}
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	return embed.NewZapLoggerBuilder(zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(out)), level)))
}
