package walkthrough_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/e2e/walkthrough"
)

// page writes ' for `, which no raw string can have.
func page(text string) string { return strings.ReplaceAll(text, "'", "`") }

func TestAPageIsReadAsStepsWithWhatItSaysOfThem(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		page string
		want []walkthrough.Step
	}{
		"a page without a block has no step": {page: "It says 'done'.\n"},
		"what a step says stands in the sentences below it": {
			page: "It says 'before'.\n'''sh\necho a\necho b\n'''\n\nIt says 'a' after 'x: y. Z', then 'b'. See 'c'. A line '✘' says more. In the end it says 'd'\n[here](e.md). Have 'f' lead there:\n",
			want: []walkthrough.Step{{Line: 3, Code: "echo a\necho b\n", Says: []string{"a", "x: y. Z", "b", "d"}}},
		},
		"a sentence of a second run is of the second run": {
			page: "'''sh\necho a\n'''\nIt says 'made'. Run again, it says 'All is there. Nothing was changed.'\n",
			want: []walkthrough.Step{{Line: 2, Code: "echo a\n", Says: []string{"made"}, Again: []string{"All is there. Nothing was changed."}}},
		},
		"the text of a later block is not the earlier step's": {
			page: "'''sh\na\n'''\n'''yaml\nb: c\n'''\n\nAnd:\n\n'''sh\nd\n'''\nIt says 'e'.\n",
			want: []walkthrough.Step{{Line: 2, Code: "a\n"}, {Line: 11, Code: "d\n", Says: []string{"e"}}},
		},
		"a block without a mark, with nothing between, is what a step shows": {
			page: "'''sh\na\n'''\n\n'''\nB  C\nD\n'''\nIt says 'b'.\n\n'''\nno output\n'''\n",
			want: []walkthrough.Step{{Line: 2, Code: "a\n", Shown: "B  C\nD\n", Says: []string{"b"}}},
		},
		"a step is of the section above it": {
			page: "# A\n'''sh\na\n'''\n## B c\nIt says 'b'.\n'''sh\n# no heading\n'''\n'''\nd\n'''\n",
			want: []walkthrough.Step{{Section: "A", Line: 3, Code: "a\n"}, {Section: "B c", Line: 8, Code: "# no heading\n", Shown: "d\n"}},
		},
		"a picture is neither": {page: "'''\n a ─▶ b\n'''\n"},
		"commands after a prompt are steps with what they show": {
			page: "Look:\n\n'''\n$ a -b\nC\nD\n$ e\n'''\nIt says 'f'.\n",
			want: []walkthrough.Step{{Line: 4, Code: "a -b\n", Shown: "C\nD\n"}, {Line: 7, Code: "e\n", Says: []string{"f"}}},
		},
		"what another terminal is opened for stays": {
			page: "'''sh\nmake up\n'''\nOnce it says 'Ready', go on. In another terminal:\n'''sh\nls\n'''\n",
			want: []walkthrough.Step{{Line: 2, Code: "make up\n", Says: []string{"Ready"}, Stays: true}, {Line: 6, Code: "ls\n"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, walkthrough.Read(page(tt.page))); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAReaderPutsInWhatThePageAsksForAndNothingElse(t *testing.T) {
	t.Parallel()
	steps := []walkthrough.Step{{Line: 2, Code: "export A=x   # for a\nexport B_C=\nexport PATH=$PWD/bin:$PATH\necho \"export A=x\"\n"}, {Line: 9, Code: "D=$A\n"}}
	got, err := walkthrough.Place(steps, map[string]string{"A": "it's", "B_C": "/tmp/b c"})
	if err != nil {
		t.Fatal(err)
	}
	want := "export A='it'\\''s'   # for a\nexport B_C='/tmp/b c'\nexport PATH=$PWD/bin:$PATH\necho \"export A=x\"\n"
	if diff := cmp.Diff(want, got[0].Code); diff != "" {
		t.Errorf("the script (-want +got):\n%s", diff)
	}
	if got[1].Code != steps[1].Code || !strings.HasPrefix(steps[0].Code, "export A=x") {
		t.Error("other lines, or the page's own steps, were changed")
	}
	for what, values := range map[string]map[string]string{
		"lets a reader choose B_C, which has no value": {"A": "a"},
		"the page lets no reader choose E":             {"A": "a", "B_C": "b", "E": "e"},
	} {
		if _, err := walkthrough.Place(steps, values); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v: got %v, want %q", values, err, what)
		}
	}
}
