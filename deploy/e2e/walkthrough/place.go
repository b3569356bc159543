package walkthrough

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// export is a line by which a page names what differs from place to place, with an
// example and a comment.
var export = regexp.MustCompile(`(?m)^export ([A-Z_]+)=(\S*)(\s+#.*)?$`)

// Place puts a reader's own values in the place of the examples that a page exports. It
// refuses a page that lets a reader choose something else.
func Place(steps []Step, values map[string]string) ([]Step, error) {
	left := maps.Clone(values)
	var errs []error
	steps = slices.Clone(steps)
	for i := range steps {
		steps[i].Code = export.ReplaceAllStringFunc(steps[i].Code, func(line string) string {
			m := export.FindStringSubmatch(line)
			if strings.Contains(m[2], "$") { // it follows from others
				return line
			}
			value, has := left[m[1]]
			if !has {
				errs = append(errs, fmt.Errorf("line %d lets a reader choose %s, which has no value", steps[i].Line, m[1]))
				return line
			}
			delete(left, m[1])
			return "export " + m[1] + "=" + quote(value) + m[3]
		})
	}
	for name := range left {
		errs = append(errs, fmt.Errorf("the page lets no reader choose %s", name))
	}
	return steps, errors.Join(errs...)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
