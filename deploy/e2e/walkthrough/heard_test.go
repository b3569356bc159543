package walkthrough_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/e2e/walkthrough"
)

func TestWhatAPageSaysIsInTheOutput(t *testing.T) {
	t.Parallel()
	const output = "made  project  fleet\nA device's identity was made, got in at wss://10.0.0.1:443,\nand was deleted.\n"
	says := []string{"made", "got in at wss://…, and was deleted.", "identity was unmade", "…nothing…", "made project"}
	if diff := cmp.Diff([]string{"identity was unmade", "…nothing…"}, walkthrough.Missing(says, output)); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
}

func TestWhatAPageShowsIsTheSameButForWhatIsAnotherInEachRun(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		shown, output string
		is            bool
	}{
		"the same":                        {"NAME   AGE\nedge-01  3", "NAME AGE\nedge-01 3", true},
		"another word":                    {"edge-01 True", "edge-01 False", false},
		"another small number":            {"READY 3", "READY 2", false},
		"another age":                     {"hello 17s", "hello 2m3s", true},
		"an age that is none":             {"hello 17s", "hello soon", false},
		"another place in the log":        {"it was applied (#69)", "it was applied (#104)", true},
		"a place in the log of one digit": {"  23:53:21  #8   online", "  11:43:21  #10  online", true},
		"another time and count":          {"2026-11-28T23:54:06Z, covers 69 messages", "2027-01-02T03:04:05Z, covers 121 messages", true},
		"a version for a commit":          {"edge-01 2f61986 2", "edge-01 v0.1.0-3-gdb87d69-dirty 2", true},
		"lines that are broken elsewhere": {"it runs revision 2\n  as it should", "it runs\n revision 2 as it should", true},
		"a line more":                     {"a 1\nb 2", "a 1\nx\nb 2", true},
		"a line less":                     {"a 1\nb 2", "a 1", false},
		"lines in another order":          {"a 1\nb 2", "b 2\na 1", true},
		"a word in the midst of a line":   {"a b", "a x b", false},
		"a word that only ends so":        {"edge-01", "my-edge-01", false},
		"what was left out":               {"a …\n…\nd", "a b\nc\nd", true},
		"signs that mean something else":  {"a.b (c) [d]*", "a.b (c) [d]*", true},
		"a key that is cut":               {"signed by UBOVR47M…;", "signed by UBCF7B3HTG2XQ6YHAJ7LQ3YTKPCVWB4SWB3ZPXFCMOAGVQQTJ3K2LHRT;", true},
		"an id of the log":                {"log 01M8J97RP1AFV7BN05GS3P86W4, 85 messages", "log 01M8KHVTG5DER8AYGRP6RK8MTS, 121 messages", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if unseen := walkthrough.Unseen(tt.shown, tt.output); tt.is != (len(unseen) == 0) {
				t.Errorf("of %q, %q lacks %q", tt.shown, tt.output, unseen)
			}
		})
	}
}

func TestALineThatAnOutputLacksIsNamed(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff([]string{"c  3"}, walkthrough.Unseen("a  1\n\n  c  3\nb 2", "b 2\na 1\n")); diff != "" {
		t.Errorf("unseen (-want +got):\n%s", diff)
	}
}
