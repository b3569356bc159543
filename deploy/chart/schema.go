package chart

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"helm.sh/helm/v3/pkg/chart"
)

// checkSchema holds values against the chart's schema, as Helm does, and says for each that is
// wrong what it is for. Helm's own message has no descriptions.
func checkSchema(c *chart.Chart, values map[string]any) error {
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(c.Schema))
	if err != nil {
		return fmt.Errorf("chart fleet: values.schema.json: %w", err)
	}
	const at = "file:///values.schema.json"
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(at, schema); err != nil {
		return fmt.Errorf("chart fleet: values.schema.json: %w", err)
	}
	compiled, err := compiler.Compile(at)
	if err != nil {
		return fmt.Errorf("chart fleet: values.schema.json: %w", err)
	}
	b, err := json.Marshal(values)
	if err != nil {
		return fmt.Errorf("chart fleet: values: %w", err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("chart fleet: values: %w", err)
	}
	err = compiled.Validate(instance)
	var refused *jsonschema.ValidationError
	if !errors.As(err, &refused) {
		return err
	}
	var sentences []string
	for _, leaf := range leaves(refused) {
		sentences = append(sentences, sentence(schema, leaf)...)
	}
	slices.Sort(sentences)
	return errors.New(strings.Join(slices.Compact(sentences), "\n"))
}

func leaves(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	var all []*jsonschema.ValidationError
	for _, c := range e.Causes {
		all = append(all, leaves(c)...)
	}
	return all
}

// sentence names the value, what is wrong with it, and what it is for.
func sentence(schema any, e *jsonschema.ValidationError) []string {
	name := strings.Join(e.InstanceLocation, ".")
	if unknown, ok := e.ErrorKind.(*kind.AdditionalProperties); ok {
		var all []string
		for _, p := range unknown.Properties {
			all = append(all, fmt.Sprintf("value %s: there is no such value in this chart", strings.TrimPrefix(name+"."+p, ".")))
		}
		return all
	}
	s := fmt.Sprintf("value %s: %s", name, e.ErrorKind.LocalizedString(message.NewPrinter(language.English)))
	if d := description(schema, e.InstanceLocation); d != "" {
		s += ". " + d
	}
	return []string{s}
}

// description is that of the property at a place; of its list, where it is an item without one.
func description(schema any, at []string) string {
	s, _ := schema.(map[string]any)
	found, _ := s["description"].(string)
	for _, token := range at {
		next, ok := s["items"].(map[string]any)
		if properties, is := s["properties"].(map[string]any); is {
			next, ok = properties[token].(map[string]any)
		}
		if !ok {
			break
		}
		s = next
		if d, ok := s["description"].(string); ok {
			found = d
		}
	}
	return found
}
