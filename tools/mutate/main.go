// Mutate finds lines that no test holds: it makes one small change at a time in
// the named files, runs the tests that should notice, and lists the changes that
// none noticed. It is run by hand, not in CI. From the root of the repository:
//
//	go -C tools run ./mutate -root .. -test ./operator/decide operator/decide/device.go operator/decide/deployment.go
//
// -test may be given several times: a mutant survives where all of them pass. One
// whose tests do not end in -timeout counts as killed. -sample 0.2 tries every
// fifth mutant, chosen by -seed. -only tries again what an earlier run left alive.
// -list prints the mutants only. All mutants are
// compiled at once, each behind a switch that the environment turns on, so that
// trying one costs no more than the tests. The files are not touched: the
// compiler gets the changed ones by its flag -overlay.
//
// A survivor is a place to look, not a verdict: some mutants mean the same.
package main

import (
	"cmp"
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
	"regexp"
	"slices"
	"strconv"
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
	only    string
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
	flag.StringVar(&o.only, "only", "", "try only the mutants that this file lists, as an earlier run printed them; lines may have moved")
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
	for _, file := range files {
		f, err := parse(filepath.Join(w.root, file))
		if err != nil {
			return err
		}
		w.sources = append(w.sources, f)
	}
	chosen := w.choose()
	if o.only != "" {
		listed, err := os.ReadFile(o.only)
		if err != nil {
			return err
		}
		chosen = w.listed(chosen, string(listed))
	}
	if o.list {
		for _, m := range chosen {
			fmt.Println(w.line(m))
		}
		return nil
	}
	if err := w.compile(ctx); err != nil {
		return err
	}
	if got := w.try(ctx, 0); got != survived {
		return fmt.Errorf("without a change: %s", got)
	}
	count := map[outcome]int{}
	for _, m := range chosen {
		if w.left[m] {
			count[broken]++
			continue
		}
		got := w.try(ctx, m.number)
		if ctx.Err() != nil {
			break
		}
		count[got]++
		if got == survived {
			fmt.Println(w.line(m))
		}
	}
	fmt.Printf("%d survived, %d killed, %d killed by their time, %d do not compile\n", count[survived], count[killed], count[late], count[broken])
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
	sources   []*source
	left      map[*mutant]bool // did not compile
	flags     [][]string       // of each test binary
}

// choose numbers all mutants and gives those to try.
func (w *work) choose() (chosen []*mutant) {
	chance, number := rand.New(rand.NewPCG(w.seed, 0)), 0
	for _, f := range w.sources {
		for _, m := range f.mutants {
			number++
			m.number = number
			if chance.Float64() < w.sample {
				chosen = append(chosen, m)
			}
		}
	}
	slices.SortStableFunc(chosen, func(a, b *mutant) int { return cmp.Or(strings.Compare(a.file, b.file), a.line-b.line) })
	return chosen
}

// listed gives those of the mutants that a list has, whatever their lines are now.
func (w *work) listed(mutants []*mutant, list string) (chosen []*mutant) {
	where := regexp.MustCompile(`^([^:]+):\d+: `)
	has := map[string]bool{}
	for line := range strings.Lines(list) {
		has[where.ReplaceAllString(strings.TrimSuffix(line, "\n"), "$1: ")] = true
	}
	for _, m := range mutants {
		if has[where.ReplaceAllString(w.line(m), "$1: ")] {
			chosen = append(chosen, m)
		}
	}
	return chosen
}

func (w *work) line(m *mutant) string {
	file, err := filepath.Rel(w.root, m.file)
	if err != nil {
		file = m.file
	}
	return fmt.Sprintf("%s:%d: %s", file, m.line, m.what)
}

// compile makes the packages' tests with all mutants. The mutants of a line that
// the compiler refuses are left out.
func (w *work) compile(ctx context.Context) error {
	w.left = map[*mutant]bool{}
	refused := regexp.MustCompile(`(?m)([\w./-]+\.go):(\d+):\d+: (.*)`)
	for {
		overlay, err := w.overlay()
		if err != nil {
			return err
		}
		var out []byte
		for i, pkg := range w.tests {
			build := exec.CommandContext(ctx, "go", "test", "-c", "-trimpath", "-vet=off", "-gcflags=-e", "-tags", w.tags, "-overlay", overlay, "-o", w.binary(i), pkg)
			build.Dir, build.Env = w.root, append(os.Environ(), "CGO_ENABLED=0")
			if out, err = build.CombinedOutput(); err != nil {
				break
			}
		}
		if err == nil {
			w.quieten(ctx)
			return nil
		}
		before := len(w.left)
		for _, said := range refused.FindAllStringSubmatch(string(out), -1) {
			for _, f := range w.sources {
				if filepath.Base(said[1]) != filepath.Base(f.name) {
					continue
				}
				line, _ := strconv.Atoi(said[2])
				f.mutants = slices.DeleteFunc(f.mutants, func(m *mutant) bool {
					if m.line == line {
						w.left[m] = true
					}
					return m.line == line
				})
			}
		}
		if len(w.left) == before {
			return fmt.Errorf("compile: %w\n%s", err, out)
		}
	}
}

// quieten keeps rapid, where a package's tests use it, from writing down how a
// mutant failed, and from looking for a shorter way to fail: that takes up to 30 s.
func (w *work) quieten(ctx context.Context) {
	const flag = "-rapid.nofailfile"
	w.flags = make([][]string, len(w.tests))
	for i := range w.tests {
		help, _ := exec.CommandContext(ctx, w.binary(i), "-h").CombinedOutput() // it exits with 2
		if strings.Contains(string(help), flag) {
			w.flags[i] = []string{flag, "-rapid.shrinktime=1ns"}
		}
	}
}

// overlay writes the changed files beside the tree, and the list by which the
// compiler takes them.
func (w *work) overlay() (string, error) {
	replace := map[string]string{}
	write := func(name, text string) error {
		file := filepath.Join(w.dir, fmt.Sprintf("%d.go", len(replace)))
		replace[name] = file
		return os.WriteFile(file, []byte(text), 0o600)
	}
	for _, f := range w.sources {
		if err := write(f.name, f.all()); err != nil {
			return "", err
		}
		if err := write(filepath.Join(filepath.Dir(f.name), "zz_mutant.go"), fmt.Sprintf(mutantSwitch, f.pkg)); err != nil {
			return "", err
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	list := filepath.Join(w.dir, "overlay.json")
	return list, os.WriteFile(list, b, 0o600)
}

const mutantSwitch = `package %s

import (
	"os"
	"strconv"
)

var mutantNumber, _ = strconv.Atoi(os.Getenv("MUTANT"))

func mutantOn(number int) bool { return number == mutantNumber }
`

func (w *work) binary(i int) string { return filepath.Join(w.dir, fmt.Sprintf("%d.test", i)) }

// try runs each package's tests with a mutant until one notices; 0 is none.
func (w *work) try(ctx context.Context, number int) outcome {
	for i, pkg := range w.tests {
		args := slices.Concat(w.flags[i], []string{"-test.failfast", "-test.timeout=" + w.timeout.String()})
		if w.run != "" {
			args = append(args, "-test.run="+w.run)
		}
		bounded, cancel := context.WithTimeout(ctx, w.timeout+10*time.Second)
		test := exec.CommandContext(bounded, w.binary(i), args...)
		test.Dir = filepath.Join(w.root, pkg)
		test.Env = append(os.Environ(), "MUTANT="+strconv.Itoa(number))
		out, err := test.CombinedOutput()
		ended := bounded.Err() != nil
		cancel()
		switch {
		case err == nil:
		case ended, strings.Contains(string(out), "panic: test timed out"):
			return late
		default:
			if number == 0 {
				fmt.Fprintf(os.Stderr, "%s", out)
			}
			return killed
		}
	}
	return survived
}
