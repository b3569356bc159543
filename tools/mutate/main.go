// Mutate finds lines that no test holds: it makes one small change at a time in
// the named files, runs the tests that should notice, and lists the changes that
// none noticed. It is run by hand, not in CI. From the root of the repository:
//
//	go -C tools run ./mutate -root .. -test ./operator/decide operator/decide/device.go operator/decide/deployment.go
//
// -test may be given several times: a mutant survives where all of them pass. A
// mutant that does not compile is left out, one whose tests do not end in
// -timeout counts as killed. -sample 0.2 tries every fifth mutant, chosen by
// -seed. -list prints the mutants only. The files are not touched: the compiler
// gets the mutant by its flag -overlay.
//
// A survivor is a place to look, not a verdict: some mutants mean the same.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

type options struct {
	root    string
	tests   []string
	tags    string
	run     string
	timeout time.Duration
	sample  float64
	seed    uint64
	list    bool
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "the repository's root, which files and packages are relative to")
	flag.Func("test", "a package whose tests should notice, such as ./operator/decide; may be repeated", func(s string) error {
		o.tests = append(o.tests, s)
		return nil
	})
	flag.StringVar(&o.tags, "tags", "remote containers_image_openpgp exclude_graphdriver_btrfs", "build tags")
	flag.StringVar(&o.run, "run", "", "run only the tests that match")
	flag.DurationVar(&o.timeout, "timeout", time.Minute, "how long one package's tests may take")
	flag.Float64Var(&o.sample, "sample", 1, "the part of the mutants to try")
	flag.Uint64Var(&o.seed, "seed", 1, "chooses the sample")
	flag.BoolVar(&o.list, "list", false, "print the mutants and try none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := mutate(ctx, o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func mutate(ctx context.Context, o options, files []string) error {
	if len(files) == 0 || len(o.tests) == 0 && !o.list {
		return errors.New("name files to change, and with -test a package that should notice")
	}
	dir, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w := work{options: o, dir: dir}
	if w.root, err = filepath.Abs(o.root); err != nil {
		return err
	}
	if !o.list {
		if got := w.try(ctx, ""); got != survived {
			return fmt.Errorf("the tests of the unchanged files end so: %s", got)
		}
	}
	chance := rand.New(rand.NewPCG(o.seed, 0))
	count := map[outcome]int{}
	for _, file := range files {
		mutants, err := mutantsOf(filepath.Join(w.root, file))
		if err != nil {
			return err
		}
		for _, m := range mutants {
			if chance.Float64() >= o.sample {
				continue
			}
			if o.list {
				fmt.Printf("%s:%d: %s\n", file, m.line, m.what)
				continue
			}
			overlay, err := w.overlay(file, m.text)
			if err != nil {
				return err
			}
			got := w.try(ctx, overlay)
			if ctx.Err() != nil {
				break
			}
			count[got]++
			if got == survived {
				fmt.Printf("%s:%d: %s\n", file, m.line, m.what)
			}
		}
	}
	if !o.list {
		fmt.Printf("%d survived, %d killed, %d killed by their time, %d do not compile\n", count[survived], count[killed], count[late], count[broken])
	}
	return ctx.Err()
}

type outcome string

const (
	survived outcome = "all pass"
	killed   outcome = "a test fails"
	late     outcome = "they take too long"
	broken   outcome = "it does not compile"
)

type work struct {
	options
	root, dir string
}

// overlay writes a mutant beside the tree, and the list by which the compiler
// takes it for the file.
func (w work) overlay(file string, text []byte) (string, error) {
	mutant, list := filepath.Join(w.dir, "mutant.go"), filepath.Join(w.dir, "overlay.json")
	b, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(w.root, file): mutant}})
	if err != nil {
		return "", err
	}
	return list, errors.Join(os.WriteFile(mutant, text, 0o600), os.WriteFile(list, b, 0o600))
}

// try compiles and runs each package's tests until one notices.
func (w work) try(ctx context.Context, overlay string) outcome {
	for _, pkg := range w.tests {
		binary := filepath.Join(w.dir, "test.bin")
		build := exec.CommandContext(ctx, "go", "test", "-c", "-trimpath", "-vet=off", "-tags", w.tags, "-overlay", overlay, "-o", binary, pkg)
		if overlay == "" {
			build = exec.CommandContext(ctx, "go", "test", "-c", "-trimpath", "-vet=off", "-tags", w.tags, "-o", binary, pkg)
		}
		build.Dir = w.root
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			if overlay == "" {
				fmt.Fprintf(os.Stderr, "%s", out)
			}
			return broken
		}
		args := []string{"-test.failfast", "-test.timeout=" + w.timeout.String()}
		if w.run != "" {
			args = append(args, "-test.run="+w.run)
		}
		bounded, cancel := context.WithTimeout(ctx, w.timeout+10*time.Second)
		test := exec.CommandContext(bounded, binary, args...)
		test.Dir = filepath.Join(w.root, pkg)
		out, err := test.CombinedOutput()
		cancel()
		switch {
		case err == nil:
		case bounded.Err() != nil, strings.Contains(string(out), "panic: test timed out"):
			return late
		default:
			if overlay == "" {
				fmt.Fprintf(os.Stderr, "%s", out)
			}
			return killed
		}
	}
	return survived
}
