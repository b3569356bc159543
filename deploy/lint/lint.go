// Package lint says what is wrong with the files of a fleet before they are applied:
// what the API server, the operator and the devices would say, by the operator's own
// functions and without any of them.
package lint

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog/score"
	"fleet.nationtech.io/operator/decide"
)

// Kinds of findings.
const (
	// Invalid: it cannot be read, or would be refused.
	Invalid = "Invalid"
	// Unknown: this version does not know the field. It is kept and sent to the
	// devices, so that it does no harm, but may be misspelt.
	Unknown = "Unknown"
)

// Finding is one thing that is wrong.
type Finding struct {
	File    string `json:"file"`
	Object  string `json:"object"` // as in deployment/web; the document's number where it has no name
	Kind    string `json:"kind"`
	Message string `json:"message"`
}

// Report is what was found in some files.
type Report struct {
	Objects  int       `json:"objects"` // Deployments, Devices and DisruptionBudgets that were looked at
	Findings []Finding `json:"findings"`
}

// Add reads a file of YAML documents, or of JSON. Objects of other groups are left
// alone. It fails where the file cannot be read on; what is wrong in a document is a
// finding.
func (r *Report) Add(file string, text io.Reader) error {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(text))
	for n := 1; ; n++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if len(bytes.TrimSpace(document)) > 0 {
			r.document(place{r, file, fmt.Sprintf("document %d", n)}, document)
		}
	}
}

// place is where findings belong.
type place struct {
	report       *Report
	file, object string
}

func (p place) find(kind, message string) {
	p.report.Findings = append(p.report.Findings, Finding{p.file, p.object, kind, message})
}

func (r *Report) document(at place, document []byte) {
	raw, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		at.find(Invalid, err.Error())
		return
	}
	var u unstructured.Unstructured
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &u.Object); err != nil {
		at.find(Invalid, "it is not an object: "+err.Error())
		return
	}
	if u.Object == nil { // comments alone
		return
	}
	if !u.IsList() {
		r.object(at, u.Object)
		return
	}
	items, _ := u.Object["items"].([]any)
	for i, item := range items {
		object, ok := item.(map[string]any)
		if !ok {
			at.find(Invalid, fmt.Sprintf("items[%d] is not an object", i))
			continue
		}
		at.object = fmt.Sprintf("items[%d]", i)
		r.object(at, object)
	}
}

func (r *Report) object(at place, object map[string]any) {
	u := unstructured.Unstructured{Object: object}
	gvk := u.GroupVersionKind()
	if gvk.Kind == "" || gvk.Version == "" {
		at.find(Invalid, "apiVersion or kind is missing")
		return
	}
	if gvk.Group != v1alpha1.SchemeGroupVersion.Group {
		return
	}
	r.Objects++
	if u.GetName() != "" {
		at.object = strings.ToLower(gvk.Kind) + "/" + u.GetName()
	}
	raw, err := json.Marshal(object)
	if err != nil {
		at.find(Invalid, err.Error())
		return
	}
	switch {
	case gvk.Version != v1alpha1.SchemeGroupVersion.Version:
		at.find(Invalid, fmt.Sprintf("version %q of group %s is not known to this version, which knows %s",
			gvk.Version, gvk.Group, v1alpha1.SchemeGroupVersion.Version))
	case gvk.Kind == "Deployment":
		var d v1alpha1.Deployment
		if at.decode(raw, &d) {
			at.deployment(&d)
		}
	case gvk.Kind == "Device":
		at.decode(raw, &v1alpha1.Device{})
	case gvk.Kind == "DisruptionBudget":
		var b v1alpha1.DisruptionBudget
		if at.decode(raw, &b) {
			at.budget(&b)
		}
	default:
		at.find(Invalid, fmt.Sprintf("kind %q of group %s is not known to this version", gvk.Kind, gvk.Group))
	}
}

// decode finds what the API server's strict decoding refuses. It says whether the
// rest could be read.
func (p place) decode(raw []byte, into any) bool {
	strict, err := kjson.UnmarshalStrict(raw, into)
	if err != nil {
		p.find(Invalid, err.Error())
		return false
	}
	for _, e := range strict {
		p.find(Invalid, e.Error()+": kubectl apply refuses it")
	}
	return true
}

// budget finds why the operator would let a budget bind nothing.
func (p place) budget(b *v1alpha1.DisruptionBudget) {
	if problem := decide.BudgetSpecOf(b).Problem; problem != nil {
		p.find(Invalid, problem.Message)
	}
}

// deployment finds what the operator would not assign, and what nobody reads.
func (p place) deployment(d *v1alpha1.Deployment) {
	spec := decide.SpecOf(d)
	if spec.Problem != nil && spec.Problem.Reason != v1alpha1.ReasonInvalidScore {
		p.find(Invalid, spec.Problem.Message)
	}
	if spec.Score != nil {
		for _, problem := range score.Problems(spec.Score) {
			p.find(Invalid, problem)
		}
	}
	for _, unknown := range spec.Unknown {
		p.find(Unknown, unknown)
	}
}
