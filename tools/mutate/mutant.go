package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
)

// mutant is one change of one file. It is compiled together with all others,
// behind a switch, so that the package is compiled once.
type mutant struct {
	number int
	file   string
	line   int
	what   string

	from, to int // the part of the file that wrap changes
	// wrap gives that part with the mutant behind its switch; inside gives the text
	// of a node of it, with the mutants there.
	wrap func(number int, inside func(from, to token.Pos) string) string
}

// source is a file and what is to be changed in it.
type source struct {
	name    string
	text    []byte
	set     *token.FileSet
	pkg     string
	mutants []*mutant
}

// otherOperator has the operator that a mutant puts in place of each.
var otherOperator = map[token.Token]token.Token{
	token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR,
	token.EQL: token.NEQ, token.NEQ: token.EQL, token.LAND: token.LOR, token.LOR: token.LAND,
}

// parse finds the mutants of a file: conditions negated, operators and booleans
// swapped, statements and the bodies of cases dropped, functions that return at
// once.
func parse(name string) (*source, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	f := &source{name: name, text: text, set: token.NewFileSet()}
	parsed, err := parser.ParseFile(f.set, name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f.pkg = parsed.Name.Name
	ast.Inspect(parsed, func(n ast.Node) bool {
		if d, ok := n.(*ast.GenDecl); ok && d.Tok != token.VAR {
			return false
		}
		f.visit(n)
		return true
	})
	return f, nil
}

func (f *source) visit(n ast.Node) {
	switch n := n.(type) {
	case *ast.IfStmt:
		f.negate(n.Cond)
	case *ast.ForStmt:
		if n.Cond != nil {
			f.negate(n.Cond)
		}
	case *ast.SwitchStmt:
		f.cases(n)
	case *ast.BinaryExpr:
		f.operator(n)
	case *ast.Ident:
		if n.Name == "true" || n.Name == "false" {
			f.add(n, "the other boolean than "+n.Name, func(number int, _ func(from, to token.Pos) string) string {
				return fmt.Sprintf("(mutantOn(%d) != %s)", number, n.Name)
			})
		}
	case *ast.BlockStmt:
		f.statements(n.List)
	case *ast.CaseClause:
		f.statements(n.Body)
		f.body(n)
	case *ast.CommClause:
		f.statements(n.Body)
	case *ast.FuncDecl:
		if n.Body != nil && len(n.Body.List) > 0 && returnsBare(n.Type) {
			at := f.offset(n.Body.Lbrace) + 1
			f.mutants = append(f.mutants, &mutant{
				file: f.name, line: f.set.Position(n.Pos()).Line, what: "returns at once: " + n.Name.Name, from: at, to: at,
				wrap: func(number int, _ func(from, to token.Pos) string) string {
					return fmt.Sprintf(" if mutantOn(%d) { return };", number)
				},
			})
		}
	}
}

func returnsBare(f *ast.FuncType) bool {
	return f.Results.NumFields() == 0 || f.Results.List[0].Names != nil
}

func (f *source) negate(cond ast.Expr) {
	f.add(cond, "the condition is negated: "+f.plain(cond), func(number int, inside func(from, to token.Pos) string) string {
		return fmt.Sprintf("(mutantOn(%d) != (%s))", number, inside(cond.Pos(), cond.End()))
	})
}

func (f *source) operator(e *ast.BinaryExpr) {
	other, ok := otherOperator[e.Op]
	if !ok {
		return
	}
	f.add(e, fmt.Sprintf("%s instead of %s: %s", other, e.Op, f.plain(e)), func(number int, inside func(from, to token.Pos) string) string {
		x, y := inside(e.X.Pos(), e.X.End()), inside(e.Y.Pos(), e.Y.End())
		return fmt.Sprintf("(mutantOn(%d) && (%s %s %s) || !mutantOn(%[1]d) && (%[2]s %[5]s %[4]s))", number, x, other, y, e.Op)
	})
}

// cases negates the conditions of a switch that has no value of its own.
func (f *source) cases(s *ast.SwitchStmt) {
	if s.Tag != nil {
		return
	}
	for _, c := range s.Body.List {
		for _, e := range c.(*ast.CaseClause).List {
			f.negate(e)
		}
	}
}

// body drops what a case does, but where what follows counts on its return.
func (f *source) body(c *ast.CaseClause) {
	if len(c.Body) < 2 { // one statement is dropped by statements
		return
	}
	switch c.Body[len(c.Body)-1].(type) {
	case *ast.ReturnStmt, *ast.BranchStmt:
		return
	}
	from, to := c.Body[0].Pos(), c.Body[len(c.Body)-1].End()
	f.mutants = append(f.mutants, &mutant{
		file: f.name, line: f.set.Position(c.Pos()).Line, what: "the case does nothing: " + f.plain(c.Body[0]), from: f.offset(from), to: f.offset(to),
		wrap: func(number int, inside func(from, to token.Pos) string) string {
			return fmt.Sprintf("if !mutantOn(%d) { %s }", number, inside(from, to))
		},
	})
}

// statements drops each one that others can do without.
func (f *source) statements(list []ast.Stmt) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.AssignStmt:
			if s.Tok == token.DEFINE {
				continue
			}
		case *ast.BranchStmt:
			if s.Tok == token.FALLTHROUGH {
				continue
			}
		case *ast.ReturnStmt:
			if len(s.Results) > 0 {
				continue
			}
		case *ast.ExprStmt, *ast.IncDecStmt, *ast.SendStmt, *ast.GoStmt, *ast.DeferStmt:
		default:
			continue
		}
		f.add(s, "dropped: "+f.plain(s), func(number int, inside func(from, to token.Pos) string) string {
			return fmt.Sprintf("if !mutantOn(%d) { %s }", number, inside(s.Pos(), s.End()))
		})
	}
}

func (f *source) add(n ast.Node, what string, wrap func(int, func(from, to token.Pos) string) string) {
	what, _, cut := strings.Cut(what, "\n")
	if cut {
		what += " …"
	}
	f.mutants = append(f.mutants, &mutant{
		file: f.name, line: f.set.Position(n.Pos()).Line, what: what,
		from: f.offset(n.Pos()), to: f.offset(n.End()), wrap: wrap,
	})
}

func (f *source) offset(p token.Pos) int { return f.set.Position(p).Offset }

func (f *source) plain(n ast.Node) string { return string(f.text[f.offset(n.Pos()):f.offset(n.End())]) }

// all is the whole file with all mutants behind their switches. It has as many
// lines as the file.
func (f *source) all() string {
	slices.SortStableFunc(f.mutants, func(a, b *mutant) int { // the outer before the inner
		return cmp.Or(a.from-b.from, b.to-a.to)
	})
	return f.render(0, len(f.text), f.mutants)
}

// render is a part of the file with the mutants that are in it.
func (f *source) render(from, to int, mutants []*mutant) string {
	var b strings.Builder
	for len(mutants) > 0 {
		m, rest := mutants[0], mutants[1:]
		n := 0
		for n < len(rest) && rest[n].from >= m.from && rest[n].to <= m.to {
			n++
		}
		b.Write(f.text[from:m.from])
		b.WriteString(m.wrap(m.number, func(x, y token.Pos) string {
			x0, y0 := f.offset(x), f.offset(y)
			var within []*mutant
			for _, r := range rest[:n] {
				if r.from >= x0 && r.to <= y0 {
					within = append(within, r)
				}
			}
			return f.render(x0, y0, within)
		}))
		from, mutants = m.to, rest[n:]
	}
	b.Write(f.text[from:to])
	return b.String()
}
