package predicate

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
)

// missing is what an expression looked at and is not there.
type missing struct {
	what     string // for a person
	optional string // how it is looked at where it may not be there
}

// absences are the texts by which CEL says that something is not there: it has no error
// values for them. The first two groups are a key and an index.
var absences = regexp.MustCompile(`^(?:no such key: (.*)|index out of bounds: (-?\d+)|index '(-?\d+)' out of range in list size '\d+')$`)

// field is a name that can follow a dot.
var field = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// missingOf says what is not there; false where the expression went wrong in another way.
func missingOf(err error) (missing, bool) {
	m := absences.FindStringSubmatch(err.Error())
	switch {
	case m == nil:
		return missing{}, false
	case m[2]+m[3] != "":
		return missing{what: "element " + m[2] + m[3], optional: "[?" + m[2] + m[3] + "]"}, true
	case field.MatchString(m[1]):
		return missing{what: m[1], optional: ".?" + m[1]}, true
	}
	return missing{what: m[1], optional: "[?" + strconv.Quote(m[1]) + "]"}, true
}

// walks says whether the expression went wrong while it walked over many things. What one
// of them lacks says nothing of the others, so that there is no answer.
func (p *Predicate) walks(err error) bool {
	at, within := node(err), false
	ast.PreOrderVisit(p.ast.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.ComprehensionKind {
			return
		}
		c := e.AsComprehension()
		for _, part := range []ast.Expr{c.LoopCondition(), c.LoopStep(), c.Result()} {
			ast.PreOrderVisit(part, ast.NewExprVisitor(func(e ast.Expr) {
				if e.ID() == at || at == 0 { // 0: the place is not known
					within = true
				}
			}))
		}
	}))
	return within
}

// unsure says what to write in place of a look at what one of many things does not have.
func (p *Predicate) unsure(err error, m missing) error {
	where := ""
	if at := p.ast.NativeRep().SourceInfo().GetStartLocation(node(err)); at.Line() > 0 {
		where = place(p.text, at) + ": "
	}
	return fmt.Errorf("%sthere is no %s in one of the things that it walks over: look at it by %s, and say by .orValue(…) what counts in place of it", where, m.what, m.optional)
}

// node is where in the expression an error comes from; 0 where that is not known.
func node(err error) int64 {
	var e *types.Err
	if errors.As(err, &e) {
		return e.NodeID()
	}
	return 0
}
