// Package argocdtest reads the health of objects as Argo CD does, by the Lua of its
// ConfigMap argocd-cm, for tests.
package argocdtest

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// T is what a test gives: testing.TB, or rapid's.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Rule is Argo CD's rule for a kind.
type Rule struct{ script *lua.FunctionProto }

// Health is what Argo CD says of an object.
type Health struct{ Status, Message string }

const prefix = "resource.customizations.health."

// Rules reads the rules of a patch of ConfigMap argocd-cm, by group and kind as
// fleet.nationtech.io_Deployment.
func Rules(t T, patch []byte) map[string]*Rule {
	t.Helper()
	var cm corev1.ConfigMap
	if err := yaml.UnmarshalStrict(patch, &cm); err != nil {
		t.Fatalf("patch of argocd-cm: %v", err)
	}
	rules := map[string]*Rule{}
	for key, text := range cm.Data {
		kind, ok := strings.CutPrefix(key, prefix)
		if !ok {
			t.Fatalf("%s is no rule of health", key)
		}
		l := lua.NewState(lua.Options{SkipOpenLibs: true})
		fn, err := l.LoadString(text)
		l.Close()
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		rules[kind] = &Rule{script: fn.Proto}
	}
	return rules
}

// limit ends a rule that does not end by itself. Argo CD gives it one second of its own machine;
// tests share theirs.
const limit = time.Minute

// Of reads an object in the small interpreter that Argo CD gives a rule: the base and the
// table library.
func (r *Rule) Of(t T, o *unstructured.Unstructured) Health {
	t.Helper()
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	l.SetContext(ctx)
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		l.Push(l.NewFunction(open))
		l.Push(lua.LString(name))
		l.Call(1, 0)
	}
	raw, err := o.MarshalJSON()
	if err != nil {
		t.Fatalf("%v", err)
	}
	var decoded any
	if err := json.Unmarshal(raw, &decoded); err != nil {
		t.Fatalf("%v", err)
	}
	l.SetGlobal("obj", value(l, decoded))
	l.Push(l.NewFunctionFromProto(r.script))
	if err := l.PCall(0, 1, nil); err != nil {
		t.Fatalf("Argo CD's health check: %v", err)
	}
	table, ok := l.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("Argo CD's health check gave %v", l.Get(-1))
	}
	return Health{Status: table.RawGetString("status").String(), Message: table.RawGetString("message").String()}
}

func value(l *lua.LState, v any) lua.LValue {
	switch v := v.(type) {
	case map[string]any:
		t := l.NewTable()
		for k, item := range v {
			t.RawSetString(k, value(l, item))
		}
		return t
	case []any:
		t := l.NewTable()
		for _, item := range v {
			t.Append(value(l, item))
		}
		return t
	case string:
		return lua.LString(v)
	case float64:
		return lua.LNumber(v)
	case bool:
		return lua.LBool(v)
	}
	return lua.LNil
}
