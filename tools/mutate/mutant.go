package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
)

// mutant is a file with one change.
type mutant struct {
	line int
	what string
	text []byte
}

// otherOperator has the operator that a mutant puts in place of each.
var otherOperator = map[token.Token]token.Token{
	token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR,
	token.EQL: token.NEQ, token.NEQ: token.EQL, token.LAND: token.LOR, token.LOR: token.LAND,
	token.ADD: token.SUB, token.SUB: token.ADD,
}

// mutantsOf makes the mutants of a file, in the order of its lines: conditions
// negated, operators and booleans swapped, statements and the bodies of cases
// dropped, functions that return at once.
func mutantsOf(file string) ([]mutant, error) {
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	m := maker{set: set, source: source}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if d, ok := n.(*ast.GenDecl); ok && d.Tok != token.VAR {
			return false
		}
		m.visit(n)
		return true
	})
	slices.SortStableFunc(m.made, func(a, b mutant) int { return a.line - b.line })
	return m.made, nil
}

type maker struct {
	set    *token.FileSet
	source []byte
	made   []mutant
}

func (m *maker) visit(n ast.Node) {
	switch n := n.(type) {
	case *ast.IfStmt:
		m.replace(n.Cond, "!("+m.text(n.Cond)+")", "the condition is negated: "+m.text(n.Cond))
	case *ast.ForStmt:
		if n.Cond != nil {
			m.replace(n.Cond, "!("+m.text(n.Cond)+")", "the condition is negated: "+m.text(n.Cond))
		}
	case *ast.BinaryExpr:
		if other, ok := otherOperator[n.Op]; ok {
			m.change(n.OpPos, n.OpPos+token.Pos(len(n.Op.String())), other.String(), fmt.Sprintf("%s instead of %s: %s", other, n.Op, m.text(n)))
		}
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			m.replace(n, "("+m.text(n.X)+")", "without the !: "+m.text(n))
		}
	case *ast.Ident:
		switch n.Name {
		case "true":
			m.replace(n, "false", "false instead of true")
		case "false":
			m.replace(n, "true", "true instead of false")
		}
	case *ast.BlockStmt:
		m.statements(n.List)
	case *ast.CaseClause:
		m.clause(n)
	case *ast.CommClause:
		m.statements(n.Body)
	case *ast.FuncDecl:
		if n.Body != nil && len(n.Body.List) > 0 && returnsBare(n.Type) {
			m.change(n.Body.Lbrace+1, n.Body.Lbrace+1, " if true { return };", "returns at once: "+n.Name.Name)
		}
	}
}

func returnsBare(f *ast.FuncType) bool {
	return f.Results.NumFields() == 0 || f.Results.List[0].Names != nil
}

// clause drops what a case does, and one of several values or conditions of it.
func (m *maker) clause(c *ast.CaseClause) {
	if len(c.Body) > 0 {
		m.change(c.Body[0].Pos(), c.Body[len(c.Body)-1].End(), "", "the case does nothing: "+m.text(c.Body[0]))
	}
	for i, e := range c.List {
		if len(c.List) > 1 {
			from, to := e.Pos(), e.End()
			if i > 0 {
				from = c.List[i-1].End()
			} else {
				to = c.List[1].Pos()
			}
			m.change(from, to, "", "without the case "+m.text(e))
		}
	}
	m.statements(c.Body)
}

// statements drops each one that others can do without.
func (m *maker) statements(list []ast.Stmt) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.AssignStmt:
			if s.Tok != token.DEFINE {
				m.drop(s)
			}
		case *ast.ExprStmt, *ast.IncDecStmt, *ast.SendStmt, *ast.GoStmt, *ast.DeferStmt, *ast.BranchStmt:
			m.drop(s)
		case *ast.ReturnStmt:
			if len(s.Results) == 0 {
				m.drop(s)
			}
		}
	}
}

func (m *maker) drop(s ast.Stmt) {
	// What only this statement used is used on, so that the rest compiles.
	used := ""
	if a, ok := s.(*ast.AssignStmt); ok && a.Tok == token.ASSIGN {
		for _, e := range a.Rhs {
			if id, ok := e.(*ast.Ident); ok && id.Name != "nil" && id.Name != "_" {
				used += "_ = " + id.Name + ";"
			}
		}
	}
	m.replace(s, used, "dropped: "+m.text(s))
}

func (m *maker) replace(n ast.Node, with, what string) { m.change(n.Pos(), n.End(), with, what) }

func (m *maker) change(from, to token.Pos, with, what string) {
	a, b := m.set.Position(from), m.set.Position(to)
	text := slices.Concat(m.source[:a.Offset], []byte(with), m.source[b.Offset:])
	what, _, cut := strings.Cut(what, "\n")
	if cut {
		what += " …"
	}
	m.made = append(m.made, mutant{line: a.Line, what: what, text: text})
}

func (m *maker) text(n ast.Node) string {
	return string(m.source[m.set.Position(n.Pos()).Offset:m.set.Position(n.End()).Offset])
}
