package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
)

// Parse decodes a config.toml over the defaults and checks it. An unknown key is
// an error that names it, its line, and the keys that there are.
func Parse(text []byte) (Config, error) {
	c := Default()
	text, err := utf8Text(text)
	if err != nil {
		return Config{}, err
	}
	err = toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&c)
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

// Byte order marks, which some editors write before the text.
var (
	utf8Mark    = []byte{0xEF, 0xBB, 0xBF}
	utf16LEMark = []byte{0xFF, 0xFE}
	utf16BEMark = []byte{0xFE, 0xFF}
)

// utf8Text gives the text without its byte order mark. It refuses what is not
// UTF-8, which TOML demands.
func utf8Text(text []byte) ([]byte, error) {
	const remedy = "save it as UTF-8 (in an editor: Save as, encoding UTF-8), or convert it: iconv -f %s -t UTF-8"
	switch {
	case bytes.HasPrefix(text, utf8Mark):
		text = text[len(utf8Mark):]
	case bytes.HasPrefix(text, []byte{0xFF, 0xFE, 0, 0}), bytes.HasPrefix(text, []byte{0, 0, 0xFE, 0xFF}):
		return nil, fmt.Errorf("the file is UTF-32, and config.toml must be UTF-8: "+remedy, "UTF-32")
	case bytes.HasPrefix(text, utf16LEMark), bytes.HasPrefix(text, utf16BEMark):
		return nil, fmt.Errorf("the file is UTF-16, and config.toml must be UTF-8: "+remedy, "UTF-16")
	case len(text) > 1 && text[0] != 0 && text[1] == 0:
		return nil, fmt.Errorf("the file is UTF-16 without a byte order mark, and config.toml must be UTF-8: "+remedy, "UTF-16LE")
	case len(text) > 1 && text[0] == 0 && text[1] != 0:
		return nil, fmt.Errorf("the file is UTF-16 without a byte order mark, and config.toml must be UTF-8: "+remedy, "UTF-16BE")
	}
	for n, line := range bytes.Split(text, []byte("\n")) {
		if !utf8.Valid(line) {
			return nil, fmt.Errorf("line %d is not UTF-8, and config.toml must be: "+remedy, n+1, "LATIN1")
		}
	}
	return text, nil
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
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("toml"), ",")
		if table == "" {
			keys = append(keys, name)
		} else if name == table && t.Field(i).Type.Kind() == reflect.Struct {
			return keysOf(t.Field(i).Type, "")
		}
	}
	return keys
}
