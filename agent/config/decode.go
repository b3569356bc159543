package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Parse decodes a config.toml over the defaults and checks it. An unknown key is
// an error that names it, its line, and the keys that there are.
func Parse(text []byte) (Config, error) {
	c := Default()
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&c)
	var unknown *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case err == nil:
	case errors.As(err, &unknown):
		return Config{}, unknownKeys(unknown)
	case errors.As(err, &wrong):
		return Config{}, wrongValue(wrong)
	default:
		return Config{}, err
	}
	return c, c.Check()
}

func unknownKeys(e *toml.StrictMissingError) error {
	errs := make([]error, 0, len(e.Errors))
	for i := range e.Errors {
		key := e.Errors[i].Key()
		line, _ := e.Errors[i].Position()
		where, known := "there are", keysOf(reflect.TypeFor[Config](), "")
		if len(key) > 1 {
			if below := keysOf(reflect.TypeFor[Config](), key[0]); below != nil {
				where, known = "of ["+key[0]+"] there are", below
			}
		}
		errs = append(errs, fmt.Errorf("line %d: unknown key %q: correct or remove it (%s: %s)",
			line, strings.Join(key, "."), where, strings.Join(known, ", ")))
	}
	return errors.Join(errs...)
}

func wrongValue(e *toml.DecodeError) error {
	line, column := e.Position()
	what := strings.TrimPrefix(e.Error(), "toml: ")
	if key := e.Key(); len(key) > 0 {
		return fmt.Errorf("line %d: key %q: %s", line, strings.Join(key, "."), what)
	}
	return fmt.Errorf("line %d, column %d: this is not TOML: %s", line, column, what)
}

// keysOf lists the keys of the configuration, or of one of its tables.
func keysOf(t reflect.Type, table string) []string {
	var keys []string
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("toml")
		if table == "" {
			keys = append(keys, name)
		} else if name == table && t.Field(i).Type.Kind() == reflect.Struct {
			return keysOf(t.Field(i).Type, "")
		}
	}
	return keys
}
