package apply

import (
	"encoding/base64"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// SetData puts values, by their keys, into a Secret.
func SetData(o *unstructured.Unstructured, values map[string][]byte) {
	text := map[string]any{}
	for key, value := range values {
		text[key] = base64.StdEncoding.EncodeToString(value)
	}
	o.Object["data"] = text
}

// Data gives what a Secret holds, by its keys: of the cluster's, or of a file. It fails
// where a value is no base64.
func Data(o *unstructured.Unstructured) (map[string][]byte, error) {
	text, _, err := unstructured.NestedStringMap(o.Object, "data")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Name(o), err)
	}
	values := map[string][]byte{}
	for key, value := range text {
		if values[key], err = base64.StdEncoding.DecodeString(value); err != nil {
			return nil, fmt.Errorf("%s, key %s: %w", Name(o), key, err)
		}
	}
	plain, _, err := unstructured.NestedStringMap(o.Object, "stringData") // of a file; the API server keeps none
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Name(o), err)
	}
	for key, value := range plain {
		values[key] = []byte(value)
	}
	return values, nil
}
