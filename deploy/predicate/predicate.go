// Package predicate says whether a CEL expression holds of the fleet at a moment, which
// the expression sees as the objects that Kubernetes would have.
package predicate

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common"
	"github.com/google/cel-go/common/types"

	"fleet.nationtech.io/eventlog/spelling"
	"fleet.nationtech.io/projections/fleet"
)

// Help says what a predicate sees.
const Help = `A predicate is an expression in CEL (https://cel.dev) that gives a bool. It sees

  deployments  the objects of fleetctl get deployments -A -o json, by "NAMESPACE/NAME"
  devices      those of fleetctl get devices -o json, by "NAME"
  rollouts     those of fleetctl get rollouts -A -o json, by "NAMESPACE/NAME"
  budgets      the DisruptionBudgets, by "NAME": uid, generation, selector, maxUnavailable,
               minAvailable, groupBy, problem, missing
  now          the moment, a timestamp
  sequence     the moment, a number

A predicate that looks at what is not there (a Deployment before it was applied, a field
that is left out because it is 0 or empty, an element that a list does not have) does not
hold. "shop/web" in deployments asks whether something is there, has(x.y) whether a field
is, and with [?"key"], [?0], .?field and .orValue(0) what is not there counts as something
else. Inside all, exists, exists_one, map and filter a look at what is not there is an error,
for one device without a field would decide for all devices: write .?field.orValue(0) there.`

// names are the variables of a predicate.
var names = []string{"deployments", "devices", "rollouts", "budgets", "now", "sequence"}

// Predicate is an expression that can be asked.
type Predicate struct {
	program cel.Program
	ast     *cel.Ast
	text    string
}

// Answer is what a predicate says of a moment.
type Answer struct {
	Holds bool
	// Missing is what the predicate looked at and is not there, so that it does not hold;
	// empty where it found all.
	Missing string
}

// Compile reads an expression. Its errors say where it is wrong, and what is meant perhaps.
func Compile(text string) (*Predicate, error) {
	objects := cel.MapType(cel.StringType, cel.DynType)
	env, err := cel.NewEnv(
		cel.OptionalTypes(), cel.CrossTypeNumericComparisons(true),
		cel.Variable("deployments", objects), cel.Variable("devices", objects), cel.Variable("rollouts", objects), cel.Variable("budgets", objects),
		cel.Variable("now", cel.TimestampType), cel.Variable("sequence", cel.IntType),
	)
	if err != nil {
		return nil, fmt.Errorf("prepare CEL: %w", err)
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, fmt.Errorf("the predicate cannot be read: %s", places(text, issues))
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("the predicate gives a %s and no bool: compare it with something", t)
	}
	program, err := env.Program(ast, cel.InterruptCheckFrequency(1000))
	if err != nil {
		return nil, fmt.Errorf("the predicate cannot be used: %w", err)
	}
	return &Predicate{program: program, ast: ast, text: text}, nil
}

// places says each thing that is wrong, with its place.
func places(text string, issues *cel.Issues) string {
	var said []string
	for _, e := range issues.Errors() {
		what := strings.TrimSuffix(e.Message, " (in container '')")
		if name, ok := strings.CutPrefix(what, "undeclared reference to '"); ok {
			name = strings.TrimSuffix(name, "'")
			what = fmt.Sprintf("there is no %s; a predicate sees %s", name, strings.Join(names, ", "))
			if meant := spelling.Closest(name, names); len(meant) > 0 {
				what = fmt.Sprintf("there is no %s: is %s meant?", name, strings.Join(meant, " or "))
			}
		}
		said = append(said, place(text, e.Location)+": "+what)
	}
	return strings.Join(said, "; ")
}

func place(text string, at common.Location) string {
	if strings.Contains(text, "\n") {
		return fmt.Sprintf("line %d, column %d", at.Line(), at.Column()+1)
	}
	return fmt.Sprintf("column %d", at.Column()+1)
}

// Ask says whether the predicate holds of a view. It looks at the objects of those kinds
// alone that the predicate names. The view belongs to the caller, and is only read.
//
// It fails where the expression goes wrong, such as by comparing a number with a text, or
// by looking, in each of many things, at what one of them does not have.
func (p *Predicate) Ask(ctx context.Context, v *fleet.View) (Answer, error) {
	o := NewObjects(v)
	out, _, err := p.program.ContextEval(ctx, map[string]any{
		"deployments": func() any { return o.deployments() },
		"devices":     func() any { return o.devices() },
		"rollouts":    func() any { return o.rollouts() },
		"budgets":     func() any { return o.budgets() },
		"now":         v.Recorded, "sequence": int64(v.Sequence),
	})
	if o.failed != nil {
		return Answer{}, o.failed
	}
	if err != nil {
		m, ok := missingOf(err)
		if ok && !p.walks(err) {
			return Answer{Missing: m.what}, nil
		}
		if ok {
			err = p.unsure(err, m)
		}
		return Answer{}, fmt.Errorf("the predicate %s at sequence %d: %w", p.text, v.Sequence, err)
	}
	holds, ok := out.(types.Bool)
	if !ok {
		return Answer{}, fmt.Errorf("the predicate %s at sequence %d gives a %s and no bool", p.text, v.Sequence, out.Type().TypeName())
	}
	return Answer{Holds: bool(holds)}, nil
}
