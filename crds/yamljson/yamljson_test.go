package yamljson_test

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/yamljson"
)

// A reader of YAML and a reader of JSON find the same text.
func FuzzAReaderOfYAMLFindsTheSameText(f *testing.F) {
	for _, text := range []string{
		"", "plain", "two\nlines\r\n", "\u007f\u0080\u0085\u009b\u2028\u2029\ufeff\ufffe", "\U0001f600 <&>", "ü: - #'\"\\", "\x00\t",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return // JSON has no such text
		}
		doc, err := yamljson.Marshal(map[string]string{"text": text})
		if err != nil {
			t.Fatal(err)
		}
		for name, read := range map[string]func([]byte, any) error{
			"JSON": json.Unmarshal,
			"YAML": func(b []byte, v any) error { return yaml.Unmarshal(b, v) },
		} {
			var got map[string]string
			if err := read(doc, &got); err != nil || got["text"] != text {
				t.Errorf("%s reads %s as %q (%v), want %q", name, doc, got["text"], err, text)
			}
		}
	})
}
