package reconcile_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleet.nationtech.io/agent/engine"
)

// A check that fails is told with its command, its exit code and its output; that
// the command is missing only where the engine says so.
func TestAFailedCheckIsToldAsItEnded(t *testing.T) {
	for name, test := range map[string]struct {
		result engine.ExecResult
		want   string
	}{
		"what a shell calls is missing":        {engine.ExecResult{ExitCode: 127, Output: "sh: 1: curl: not found\n"}, "/bin/sh ended with 127: sh: 1: curl: not found"},
		"what a shell calls may not be run":    {engine.ExecResult{ExitCode: 126, Output: "sh: 1: ./x: Permission denied"}, "/bin/sh ended with 126: sh: 1: ./x: Permission denied"},
		"127 without a word":                   {engine.ExecResult{ExitCode: 127}, "/bin/sh ended with 127"},
		"the command itself is missing":        {engine.ExecResult{ExitCode: 127, Unstarted: `exec: "/bin/sh": stat /bin/sh: no such file`}, `/bin/sh cannot be run in the container (exit code 127): exec: "/bin/sh": stat /bin/sh: no such file`},
		"a check that a signal ended":          {engine.ExecResult{ExitCode: 137, Output: "half"}, "/bin/sh ended with 137, as a command does that SIGKILL ends: half"},
		"a code beyond signals":                {engine.ExecResult{ExitCode: 255, Output: "no"}, "/bin/sh ended with 255: no"},
		"output of many lines and much length": {engine.ExecResult{ExitCode: 1, Output: "a\n\tb " + strings.Repeat("x", 300)}, "/bin/sh ended with 1: a b " + strings.Repeat("x", 196) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFake()
				e.exec = &test.result
				w, stop := keep(t, e)
				w.source.set(assigned(`{"healthCheck":{"exec":["/bin/sh","x"],"interval":"1s","retries":2},"image":"a:1","name":"web"}`))
				time.Sleep(time.Minute)
				synctest.Wait()
				s := w.reports.state("hello")
				stop()
				if s.LastError == nil || !strings.HasSuffix(*s.LastError, "checks in a row failed: "+test.want) {
					t.Errorf("last error %v, want that it ends with %q", s.LastError, test.want)
				}
			})
		})
	}
}
